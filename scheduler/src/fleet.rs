//! All instances, and the lists that let a placement find the right few among a thousand: by grade the next to be free,
//! by checkpoint those that hold it.

use std::collections::{BTreeMap, BTreeSet};

use crate::device::Instance;
use crate::ids::{DeviceId, GraphId, InstanceId, ModelId};
use crate::market::ONE;
use crate::repeats::NO_GRAPH;
use crate::runs::ClassIx;
use crate::spec::DeviceSample;
use crate::time::Timestamp;

/// An instance's place in the table; it keeps it as long as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InstanceIx(pub(crate) u32);

/// Instances that are alike to a placement: same device class, same catalogue, same size.
#[derive(Debug, Clone)]
pub(crate) struct Grade {
    pub(crate) class: ClassIx,
    pub(crate) catalogue: u64,
    pub(crate) capacity_mib: u32,
    /// None of them brings models in faster, MiB/s.
    pub(crate) pcie_mib_s: u32,
    /// What a second of one of them is worth; [`crate::market::ONE`] is the mean over the fleet.
    pub(crate) price: u64,
    /// Usable ones, the one that is free first at the front.
    pub(crate) by_free: BTreeSet<(Timestamp, InstanceIx)>,
    /// Those among them with an open seat.
    pub(crate) open: BTreeSet<InstanceIx>,
}

/// A set of grades. More than 64 share bits: the set then says *perhaps*, and the instance is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct GradeSet(u64);

impl GradeSet {
    pub(crate) fn insert(&mut self, grade: usize) {
        self.0 |= 1 << (grade % 64);
    }

    pub(crate) fn has(self, grade: usize) -> bool {
        self.0 >> (grade % 64) & 1 == 1
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// How an instance stands in the lists.
#[derive(Debug, Clone, Default)]
struct Listed {
    grade: usize,
    free_at: Timestamp,
    checkpoints: Vec<ModelId>,
}

/// All instances.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    table: Vec<Option<Instance>>,
    by_id: BTreeMap<InstanceId, InstanceIx>,
    vacant: Vec<InstanceIx>,
    grades: Vec<Grade>,
    listed: Vec<Option<Listed>>,
    /// Where a graph was last sent, at most one entry an instance; [`Instance::last_graph`] says whether it still holds.
    graphs: BTreeMap<GraphId, InstanceIx>,
    /// In no order: what an instance holds changes much less often than when it is free.
    holders: BTreeMap<ModelId, Vec<InstanceIx>>,
    /// Changed since they were listed.
    touched: Vec<InstanceIx>,
    largest_mib: Option<u32>,
    /// When seats open behind what instances run; may be out of date.
    opening: BTreeSet<(Timestamp, InstanceIx)>,
    /// When the next of the restarts that were asked for is believed to be over; may be early.
    restarts: BTreeSet<(Timestamp, InstanceIx)>,
}

impl Fleet {
    pub(crate) fn ix(&self, id: InstanceId) -> Option<InstanceIx> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn at(&self, ix: InstanceIx) -> Option<&Instance> {
        self.table.get(ix.0 as usize)?.as_ref()
    }

    pub(crate) fn get(&self, id: InstanceId) -> Option<&Instance> {
        self.at(self.ix(id)?)
    }

    /// The instance, to be changed: the lists follow at the next placement.
    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        let ix = self.ix(id)?;
        self.touch(ix);
        self.table.get_mut(ix.0 as usize)?.as_mut()
    }

    /// Something that the lists depend on has changed.
    pub(crate) fn touch_id(&mut self, id: InstanceId) {
        if let Some(ix) = self.ix(id) {
            self.touch(ix);
        }
    }

    fn touch(&mut self, ix: InstanceIx) {
        if self.touched.last() != Some(&ix) {
            self.touched.push(ix);
        }
    }

    /// The instance, made known if it was not.
    pub(crate) fn entry(&mut self, now: Timestamp, id: InstanceId) -> &mut Instance {
        let ix = match self.ix(id) {
            Some(ix) => ix,
            None => self.insert(id),
        };
        self.touch(ix);
        self.table[ix.0 as usize].get_or_insert_with(|| Instance::new(id, now))
    }

    fn insert(&mut self, id: InstanceId) -> InstanceIx {
        let ix = self.vacant.pop().unwrap_or_else(|| {
            self.table.push(None);
            self.listed.push(None);
            InstanceIx(u32::try_from(self.table.len() - 1).unwrap_or(u32::MAX))
        });
        self.by_id.insert(id, ix);
        ix
    }

    /// An instance is to run a graph after all that it holds.
    pub(crate) fn note_graph(&mut self, ix: InstanceIx, graph: GraphId) {
        let Some(instance) = self.table.get_mut(ix.0 as usize).and_then(Option::as_mut) else { return };
        let old = std::mem::replace(&mut instance.last_graph, graph);
        instance.keeps_graph = true;
        if self.graphs.get(&old) == Some(&ix) {
            self.graphs.remove(&old);
        }
        if graph != NO_GRAPH {
            self.graphs.insert(graph, ix);
        }
    }

    /// The instance whose node cache has the outputs of a graph, once it has run all that it holds.
    pub(crate) fn last_with(&self, graph: GraphId) -> Option<InstanceIx> {
        let ix = self.graphs.get(&graph).copied()?;
        self.at(ix).filter(|instance| instance.keeps_graph).map(|_| ix)
    }

    /// Forgets an instance of which nothing is left.
    pub(crate) fn forget_if_empty(&mut self, id: InstanceId) {
        if let Some(ix) = self.ix(id)
            && self.at(ix).is_some_and(Instance::is_empty)
        {
            self.unlist(ix);
            self.graphs.retain(|_, on| *on != ix);
            self.by_id.remove(&id);
            self.table[ix.0 as usize] = None;
            self.touched.retain(|touched| *touched != ix);
            self.vacant.push(ix);
        }
    }

    /// Every instance, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.by_id.values().filter_map(|ix| self.at(*ix))
    }

    pub(crate) fn joined(&self) -> impl Iterator<Item = &Instance> {
        self.iter().filter(|instance| instance.profile.is_some())
    }

    /// Takes in a reading; true when it says something new to a placement.
    pub(crate) fn observe(&mut self, device: DeviceId, sample: DeviceSample) -> bool {
        let mut news = Vec::new();
        for ix in self.by_id.values() {
            let Some(instance) = self.table.get_mut(ix.0 as usize).and_then(Option::as_mut) else { continue };
            if instance.profile.as_ref().is_some_and(|profile| profile.device == Some(device)) {
                let old = DeviceSample { utilization_milli: sample.utilization_milli, ..instance.sample };
                if old != sample || (instance.faulty && !sample.faulty) {
                    news.push(*ix);
                }
                instance.sample = sample;
                instance.faulty &= sample.faulty;
            }
        }
        self.touched.extend(&news);
        !news.is_empty()
    }

    /// The largest device that is known, in whatever state; `u32::MAX` when none is.
    pub(crate) fn largest_mib(&self) -> u32 {
        self.largest_mib.unwrap_or(u32::MAX)
    }

    /// Devices came, went or told their size; true when the largest is another one now.
    pub(crate) fn measure(&mut self) -> bool {
        let largest = self.joined().map(Instance::capacity_mib).max();
        let changed = largest != self.largest_mib;
        self.largest_mib = largest;
        changed
    }

    /// Whether there are hosts and none of them can take outputs.
    pub(crate) fn is_spool_full(&self) -> bool {
        let mut joined = self.joined().peekable();
        joined.peek().is_some() && joined.all(|instance| instance.spool_full)
    }

    /// A restart was asked for.
    pub(crate) fn await_restart(&mut self, id: InstanceId, by: Timestamp) {
        if let Some(ix) = self.ix(id) {
            self.restarts.insert((by, ix));
        }
    }

    pub(crate) fn next_restart(&self) -> Option<Timestamp> {
        self.restarts.first().map(|(by, _)| *by)
    }

    /// Restarts that nobody saw are believed to be over; true when there was one.
    pub(crate) fn end_restarts(&mut self, now: Timestamp) -> bool {
        let mut ended = false;
        while let Some((by, ix)) = self.restarts.first().copied().filter(|(by, _)| *by <= now) {
            self.restarts.pop_first();
            let Some(instance) = self.table.get_mut(ix.0 as usize).and_then(Option::as_mut) else { continue };
            if instance.restart_by == Some(by) {
                instance.restart_by = None;
                self.touch(ix);
                ended = true;
            }
        }
        ended
    }

    pub(crate) fn grades(&self) -> &[Grade] {
        &self.grades
    }

    pub(crate) fn set_price(&mut self, grade: usize, price: u64) {
        self.grades[grade].price = price;
    }

    /// Usable instances.
    pub(crate) fn usable(&self) -> usize {
        self.grades.iter().map(|grade| grade.by_free.len()).sum()
    }

    /// Grades that have a usable instance.
    pub(crate) fn usable_grades(&self) -> GradeSet {
        let mut found = GradeSet::default();
        for (index, _) in self.grades.iter().enumerate().filter(|(_, grade)| !grade.by_free.is_empty()) {
            found.insert(index);
        }
        found
    }

    /// Seats are open on so many instances.
    pub(crate) fn open_seats(&self) -> u32 {
        let open = self.grades.iter().map(|grade| grade.open.len()).sum::<usize>();
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// A seat was taken within a placement: the instance stays listed as it was, but for its open seats.
    pub(crate) fn note_taken(&mut self, ix: InstanceIx, seats: usize) {
        let is_full = self.at(ix).is_none_or(|instance| instance.held.len() >= seats);
        if let Some(grade) = self.grade_of(ix).filter(|_| is_full) {
            self.grades[grade].open.remove(&ix);
        }
    }

    /// A seat behind what an instance runs opens then, unless it is listed again before.
    pub(crate) fn open_at(&mut self, ix: InstanceIx, at: Timestamp) {
        self.opening.insert((at, ix));
    }

    pub(crate) fn next_opening(&self) -> Option<Timestamp> {
        self.opening.first().map(|(at, _)| *at)
    }

    /// Instances whose next seat opens by now are looked at again.
    pub(crate) fn touch_opening(&mut self, now: Timestamp) {
        while let Some((_, ix)) = self.opening.first().copied().filter(|(at, _)| *at <= now) {
            self.opening.pop_first();
            if self.at(ix).is_some() {
                self.touch(ix);
            }
        }
    }

    /// Whether an instance has an open seat.
    pub(crate) fn is_open(&self, ix: InstanceIx) -> bool {
        self.grade_of(ix).is_some_and(|grade| self.grades[grade].open.contains(&ix))
    }

    /// Places in the table, taken or not.
    pub(crate) fn places(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_any_open(&self) -> bool {
        self.grades.iter().any(|grade| !grade.open.is_empty())
    }

    /// Whether a usable instance holds a checkpoint.
    pub(crate) fn is_held(&self, checkpoint: ModelId) -> bool {
        self.holders.contains_key(&checkpoint)
    }

    /// Those of the usable instances that hold a checkpoint which are free first, in that order; at most `N`.
    pub(crate) fn holders<const N: usize>(&self, checkpoint: ModelId) -> impl Iterator<Item = InstanceIx> {
        let mut first: [Option<(Timestamp, InstanceIx)>; N] = [None; N];
        for ix in self.holders.get(&checkpoint).into_iter().flatten() {
            let mut next = Some((self.free_at(*ix), *ix));
            if first.last().is_some_and(|last| last.is_some() && *last <= next) {
                continue;
            }
            // It goes in where it belongs, and each behind it moves on by one.
            for place in &mut first {
                if place.is_none() || next < *place {
                    std::mem::swap(place, &mut next);
                }
                if next.is_none() {
                    break;
                }
            }
        }
        first.into_iter().flatten().map(|(_, ix)| ix)
    }

    pub(crate) fn grade_of(&self, ix: InstanceIx) -> Option<usize> {
        self.listed.get(ix.0 as usize)?.as_ref().map(|listed| listed.grade)
    }

    /// When a listed instance is predicted to be free.
    pub(crate) fn free_at(&self, ix: InstanceIx) -> Timestamp {
        let listed = self.listed.get(ix.0 as usize).and_then(Option::as_ref);
        listed.map_or(Timestamp::NEVER, |listed| listed.free_at)
    }

    /// The instances whose places in the lists are out of date.
    pub(crate) fn take_touched(&mut self) -> Vec<InstanceIx> {
        std::mem::take(&mut self.touched)
    }

    /// Puts an instance where it belongs now; `None` takes it out. True when it is the first of its grade.
    pub(crate) fn list(
        &mut self,
        ix: InstanceIx,
        place: Option<(ClassIx, Timestamp)>,
        is_open: bool,
    ) -> bool {
        let Some((class, free_at)) = place else {
            self.unlist(ix);
            return false;
        };
        let Some(instance) = self.at(ix) else { return false };
        let Some(catalogue) = instance.catalogue().map(|catalogue| catalogue.id) else {
            self.unlist(ix);
            return false;
        };
        let capacity_mib = instance.capacity_mib();
        let pcie_mib_s = instance.loading().map_or(u32::MAX, |rates| rates.pcie_mib_s);
        let (grade, is_new) = self.grade(class, catalogue, capacity_mib);
        let fastest = &mut self.grades[grade].pcie_mib_s;
        *fastest = (*fastest).max(pcie_mib_s);
        self.list_holdings(ix);
        self.list_time(ix, grade, free_at);
        if is_open {
            self.grades[grade].open.insert(ix);
        } else {
            self.grades[grade].open.remove(&ix);
        }
        is_new
    }

    /// Brings the holders of checkpoints in line with what an instance holds.
    fn list_holdings(&mut self, ix: InstanceIx) {
        let Some(instance) = self.table.get(ix.0 as usize).and_then(Option::as_ref) else { return };
        let listed = self.listed[ix.0 as usize].get_or_insert_default();
        if listed.checkpoints.iter().copied().eq(instance.resident.models()) {
            return;
        }
        let old = std::mem::replace(&mut listed.checkpoints, instance.resident.models().collect());
        for model in &listed.checkpoints {
            if !old.contains(model) {
                self.holders.entry(*model).or_default().push(ix);
            }
        }
        for model in old.into_iter().filter(|model| !instance.resident.has(*model)) {
            drop_holder(&mut self.holders, model, ix);
        }
    }

    /// Puts an instance where its grade and its time belong.
    fn list_time(&mut self, ix: InstanceIx, grade: usize, free_at: Timestamp) {
        let listed = self.listed[ix.0 as usize].get_or_insert_default();
        let was = (listed.grade, listed.free_at);
        (listed.grade, listed.free_at) = (grade, free_at);
        if was == (grade, free_at) && self.grades[grade].by_free.contains(&(free_at, ix)) {
            return;
        }
        // One that was not listed yet is in neither.
        if let Some(old) = self.grades.get_mut(was.0) {
            old.by_free.remove(&(was.1, ix));
            old.open.remove(&ix);
        }
        self.grades[grade].by_free.insert((free_at, ix));
    }

    fn unlist(&mut self, ix: InstanceIx) {
        let Some(old) = self.listed.get_mut(ix.0 as usize).and_then(Option::take) else { return };
        self.grades[old.grade].by_free.remove(&(old.free_at, ix));
        self.grades[old.grade].open.remove(&ix);
        for model in old.checkpoints {
            drop_holder(&mut self.holders, model, ix);
        }
    }

    fn grade(&mut self, class: ClassIx, catalogue: u64, capacity_mib: u32) -> (usize, bool) {
        let same = |grade: &Grade| {
            (grade.class, grade.catalogue, grade.capacity_mib) == (class, catalogue, capacity_mib)
        };
        if let Some(index) = self.grades.iter().position(same) {
            return (index, false);
        }
        self.grades.push(Grade {
            class,
            catalogue,
            capacity_mib,
            pcie_mib_s: 0,
            price: ONE,
            by_free: BTreeSet::new(),
            open: BTreeSet::new(),
        });
        (self.grades.len() - 1, true)
    }
}

/// Takes an instance out of the holders of a checkpoint, and the checkpoint when nobody is left.
fn drop_holder(holders: &mut BTreeMap<ModelId, Vec<InstanceIx>>, model: ModelId, ix: InstanceIx) {
    let Some(places) = holders.get_mut(&model) else { return };
    if let Some(at) = places.iter().position(|place| *place == ix) {
        places.swap_remove(at);
    }
    if places.is_empty() {
        holders.remove(&model);
    }
}
