//! `docs/SECURITY.md` names a test for each attack, `docs/NATIVE_API.md` for each pitfall: those tests are there.

use std::path::{Path, PathBuf};

/// All Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The last column of each row of the table under a heading.
fn named_tests<'a>(document: &'a str, heading: &str) -> Vec<&'a str> {
    let table = document.split(heading).nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    rows.skip(1).map(|row| row.trim_end_matches('|').rsplit('|').next().unwrap().trim()).collect()
}

/// Whether `module::name` or `module::tests::name` is a test of a file of that name.
fn is_there(test: &str, sources: &[PathBuf]) -> bool {
    let parts: Vec<&str> = test.split("::").filter(|part| *part != "tests").collect();
    let (Some(name), Some(module)) = (parts.last(), parts.iter().rev().nth(1)) else { return false };
    let declared = format!("fn {name}(");
    let mut files = sources.iter().filter(|file| file.file_stem().is_some_and(|stem| stem == *module));
    files.any(|file| std::fs::read_to_string(file).unwrap().contains(&declared))
}

#[test]
fn every_attack_and_every_pitfall_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = |name: &str| std::fs::read_to_string(root.join("../docs").join(name)).unwrap();
    let (attacks, pitfalls) = (document("SECURITY.md"), document("NATIVE_API.md"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    let mut cells = named_tests(&attacks, "## Attack, answer, test");
    assert!(cells.len() > 30, "the table was not found: {cells:?}");
    let of_clients = named_tests(&pitfalls, "## Pitfalls of clients");
    assert!(of_clients.len() > 10, "the table was not found: {of_clients:?}");
    cells.extend(of_clients);
    assert!(!is_there("security::no_such_test", &files) && !is_there("assets.rs", &files));
    for cell in cells {
        if cell == "same" || cell.starts_with("by construction") {
            continue;
        }
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "an attack without a test: {cell}");
        for name in names {
            assert!(is_there(name, &files), "there is no test {name}");
        }
    }
}
