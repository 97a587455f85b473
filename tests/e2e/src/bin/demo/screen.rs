//! The terminal: lines that stay, and a block below them that is drawn again and again. Without a terminal there is no
//! block.

use std::io::{IsTerminal as _, Write as _};

/// Widest line of the block; a wrapped line would spoil the next drawing.
const WIDTH: usize = 79;

/// Standard output.
pub struct Screen {
    is_terminal: bool,
    drawn: usize,
}

impl Screen {
    /// Looks what standard output is.
    pub fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Writes a line that stays. A reader that left is no reason to end.
    pub fn say(&mut self, line: &str) {
        self.erase();
        let _ = writeln!(std::io::stdout(), "{line}");
    }

    /// Draws the block.
    pub fn block(&mut self, lines: &[String]) {
        if !self.is_terminal {
            return;
        }
        self.erase();
        let mut out = std::io::stdout().lock();
        for line in lines {
            let shown: String = line.chars().take(WIDTH).collect();
            let _ = writeln!(out, "{shown}");
        }
        let _ = out.flush();
        self.drawn = lines.len();
    }

    /// Takes the block away.
    pub fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = write!(std::io::stdout(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// A bar of ten parts.
pub fn bar(value: f64) -> String {
    const PARTS: usize = 10;
    // A value within 0..=1 gives 0 to 10 parts.
    let full = (value.clamp(0.0, 1.0) * 10.0).round() as usize;
    format!("{}{}", "█".repeat(full.min(PARTS)), "░".repeat(PARTS.saturating_sub(full)))
}
