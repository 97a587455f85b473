//! Lists of starts, and where two of them part.

use std::fmt;

/// One attempt begins. Those of one instant are ordered by their device: it starts one at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    pub at_ms: i64,
    pub node: String,
    pub job: String,
    pub attempt: u32,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, node, job, attempt } = self;
        write!(f, "{at_ms:>8} ms  {job} on {node}, attempt {attempt}")
    }
}

/// Starts that agree and are shown before the one that does not.
const SHOWN_BEFORE: usize = 3;

/// The first start that differs, in words; `None`: there is none.
pub fn first_difference(simulated: &[Start], started: &[Start]) -> Option<String> {
    let longest = simulated.len().max(started.len());
    let at = (0..longest).find(|at| simulated.get(*at) != started.get(*at))?;
    let agreed: String = simulated[at.saturating_sub(SHOWN_BEFORE)..at]
        .iter()
        .map(|start| format!("  both:     {start}\n"))
        .collect();
    let word = |start: Option<&Start>| start.map_or_else(|| "nothing more".to_owned(), ToString::to_string);
    Some(format!(
        "start {at} of {} differs ({} by the engine)\n{agreed}  simulate: {}\n  engine:   {}",
        simulated.len(),
        started.len(),
        word(simulated.get(at)),
        word(started.get(at)),
    ))
}

#[test]
fn a_difference_is_shown_with_what_came_before_and_an_end_that_came_too_early_is_one() {
    let start = |at_ms, job: &str| Start { at_ms, node: "n0".into(), job: job.into(), attempt: 1 };
    let all = [start(1, "a"), start(2, "b"), start(3, "c")];
    assert_eq!(first_difference(&all, &all), None);
    let early = first_difference(&all, &all[..2]).unwrap();
    assert!(early.contains("both:            1 ms  a on n0, attempt 1"), "{early}");
    assert!(
        early.contains("simulate:        3 ms  c") && early.contains("engine:   nothing more"),
        "{early}"
    );
    assert!(first_difference(&all, &[start(1, "a"), start(2, "c"), start(3, "b")]).is_some());
}
