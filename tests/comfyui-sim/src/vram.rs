//! Which weights are on the card: least recently used ones make room.

/// A model of this size in MiB, told from its file name.
pub(crate) fn model_mib(name: &str) -> u64 {
    let name = name.to_lowercase();
    if name.contains("flux") {
        12_000
    } else if name.contains("xl") {
        6_600
    } else if name.contains("tiny") {
        60
    } else if name.contains("lora") || name.contains("vae") || name.starts_with("ae.") {
        300
    } else {
        2_000
    }
}

/// What sampling or decoding this many pixels needs besides the weights, in MiB.
pub(crate) fn working_mib(width: u64, height: u64, batch: u64) -> u64 {
    const MIB_PER_MEGAPIXEL: u64 = 1_500;
    width * height * batch / 1_000 * MIB_PER_MEGAPIXEL / 1_000
}

/// The card's memory.
#[derive(Debug)]
pub(crate) struct Vram {
    total_mib: u64,
    /// Least recently used first.
    resident: Vec<(String, u64)>,
}

impl Vram {
    pub(crate) fn new(total_mib: u64) -> Vram {
        Vram { total_mib, resident: Vec::new() }
    }

    /// MiB nothing uses.
    pub(crate) fn free_mib(&self) -> u64 {
        let used: u64 = self.resident.iter().map(|(_, mib)| mib).sum();
        self.total_mib.saturating_sub(used)
    }

    /// Brings a model onto the card beside `working_mib` of room. `Ok` holds the MiB that had to be moved; `Err`
    /// means it cannot fit even alone.
    pub(crate) fn load(&mut self, name: &str, working_mib: u64) -> Result<u64, OutOfMemory> {
        let size = model_mib(name);
        if size + working_mib > self.total_mib {
            return Err(OutOfMemory);
        }
        let was_resident = self.resident.iter().any(|(other, _)| other == name);
        self.resident.retain(|(other, _)| other != name);
        while self.free_mib() < size + working_mib && !self.resident.is_empty() {
            self.resident.remove(0);
        }
        self.resident.push((name.to_owned(), size));
        Ok(if was_resident { 0 } else { size })
    }

    /// Unloads everything.
    pub(crate) fn clear(&mut self) {
        self.resident.clear();
    }
}

/// Does not fit the card.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_model_makes_room() {
        let mut vram = Vram::new(15_360);
        assert_eq!(vram.load("a_xl", 0), Ok(6_600));
        assert_eq!(vram.load("b_xl", 0), Ok(6_600));
        assert_eq!(vram.load("a_xl", 0), Ok(0));
        assert_eq!(vram.load("c_xl", 0), Ok(6_600));
        assert_eq!(vram.load("a_xl", 0), Ok(0), "b was evicted, not a");
    }

    #[test]
    fn what_cannot_fit_alone_is_out_of_memory() {
        assert_eq!(Vram::new(15_360).load("flux", working_mib(2048, 2048, 1)), Err(OutOfMemory));
    }
}
