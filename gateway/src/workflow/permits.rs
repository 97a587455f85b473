//! Which node classes and models a tenant's workflows may use. Every node counts, whether an output depends on it or not
//! and wherever it stands; what a class does when it runs (nodes that it expands into) cannot be seen from outside.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::catalogue::{Catalogue, Kind};
use super::graph::{Graph, Node, NodeInput};
use super::{models, python};
use crate::store::{Allowed, Rules};

/// The name of the shipped list in `allow.classes`.
const CORE: &str = "@core";
/// Classes of ComfyUI itself that only compute; the file says how it was made.
static CORE_CLASSES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../assets/classes/core.txt").lines();
    lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
});
/// Words in the names of inputs that choose a model file.
const MODEL_WORDS: [&str; 10] =
    ["ckpt", "checkpoint", "lora", "unet", "vae", "clip", "control_net", "model", "gligen", "hypernetwork"];
/// Most patterns of one list, and longest pattern.
const MAX_PATTERNS: usize = 2_000;
const MAX_PATTERN_BYTES: usize = 512;

/// Something that a tenant's workflows may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// A class.
    Class {
        /// The node.
        node: String,
        /// The class.
        class: String,
    },
    /// A model file.
    Model {
        /// The node.
        node: String,
        /// The file, as the workflow names it.
        model: String,
    },
    /// The name of a model file comes from another node, so it cannot be told.
    LinkedModel {
        /// The node.
        node: String,
        /// The input.
        input: String,
    },
}

/// The first thing in a graph that these rules forbid. Says nothing of what the fleet has.
#[must_use]
pub fn forbidden(graph: &Graph, allowed: &Allowed, fleet: &[Arc<Catalogue>]) -> Option<Forbidden> {
    let class = |node: &Node| {
        let forbidden = !passes(&allowed.classes, &node.class_type);
        forbidden.then(|| Forbidden::Class { node: node.id.clone(), class: node.class_type.clone() })
    };
    if let Some(class) = graph.nodes.iter().find_map(class) {
        return Some(class);
    }
    if allowed.models == Rules::default() {
        return None;
    }
    graph.nodes.iter().find_map(|node| model(node, &allowed.models, fleet))
}

fn model(node: &Node, rules: &Rules, fleet: &[Arc<Catalogue>]) -> Option<Forbidden> {
    node.inputs.iter().find_map(|(name, input)| match input {
        // Wherever it stands: a text may be handed on to a loader.
        NodeInput::Literal(literal) => {
            let named = python::unwrapped(literal).as_str().filter(|text| models::is_model_file(text))?;
            let forbidden = !passes(rules, &named.replace('\\', "/"));
            forbidden.then(|| Forbidden::Model { node: node.id.clone(), model: named.to_owned() })
        }
        NodeInput::Link { .. } => takes_model(node, name, fleet)
            .then(|| Forbidden::LinkedModel { node: node.id.clone(), input: name.clone() }),
    })
}

/// Whether an input chooses a model file: its list has some, or its name says so.
fn takes_model(node: &Node, name: &str, fleet: &[Arc<Catalogue>]) -> bool {
    let is_named_so = MODEL_WORDS.iter().any(|word| name.contains(word));
    let mut classes = fleet.iter().filter_map(|it| it.class(&node.class_type)).peekable();
    if classes.peek().is_none() {
        return is_named_so && (name.contains("_name") || name.contains("_path"));
    }
    classes.filter_map(|class| class.input(name)).any(|input| match &input.kind {
        Kind::Combo(choices) => {
            let is_file = |value: &Value| value.as_str().is_some_and(models::is_model_file);
            is_named_so || choices.listed.iter().any(|choice| is_file(&choice.value))
        }
        _ => false,
    })
}

/// Whether rules let a name pass.
#[must_use]
pub fn is_allowed(rules: &Rules, name: &str) -> bool {
    passes(rules, name)
}

fn passes(rules: &Rules, name: &str) -> bool {
    let matches = |pattern: &String| match pattern.as_str() {
        CORE => CORE_CLASSES.contains(name),
        pattern => is_like(pattern, name),
    };
    (rules.allow.is_empty() || rules.allow.iter().any(matches)) && !rules.deny.iter().any(matches)
}

/// Whether a pattern with `*` (any characters) and `?` (one) fits a name, in a time that is at most their product.
fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, n) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// What is wrong with the rules of a tenant, in words.
///
/// # Errors
/// The first mistake.
pub fn check_rules(allowed: &Allowed) -> Result<(), String> {
    for (name, rules) in [("classes", &allowed.classes), ("models", &allowed.models)] {
        for (list, patterns) in [("allow", &rules.allow), ("deny", &rules.deny)] {
            if patterns.len() > MAX_PATTERNS {
                return Err(format!("allow.{name}.{list}: more than {MAX_PATTERNS} patterns"));
            }
            if let Some(bad) = patterns.iter().find(|it| !(1..=MAX_PATTERN_BYTES).contains(&it.len())) {
                return Err(format!("allow.{name}.{list}: a pattern of {} bytes", bad.len()));
            }
            let unknown = |it: &&String| it.starts_with('@') && (name != "classes" || it.as_str() != CORE);
            if let Some(bad) = patterns.iter().find(unknown) {
                return Err(format!("allow.{name}.{list}: there is no list {bad}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workflow::Limits;

    const CATALOGUE: &str = include_str!("../../../tests/fixtures/comfyui/object_info.json");

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let owned = |list: &[&str]| list.iter().map(|&it| it.to_owned()).collect();
        Rules { allow: owned(allow), deny: owned(deny) }
    }

    fn graph(graph: Value) -> Graph {
        Graph::parse(&graph.to_string(), &Limits::default()).unwrap()
    }

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*.ckpt", "xl/a.ckpt"), ("a**", "a")]
        {
            assert!(is_like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a*c", "ab"), ("?", ""), ("a", "A"), ("*b*c", "acb")] {
            assert!(!is_like(pattern, name), "{pattern} {name}");
        }
        assert!(!is_like(&"a*".repeat(200), &"a".repeat(199)), "no exponential search");
    }

    #[test]
    fn a_forbidden_class_is_found_wherever_it_stands() {
        let allowed = Allowed { classes: rules(&["@core"], &["SaveImage"]), ..Allowed::default() };
        let alone = |class: &str| {
            graph(json!({
                "1": {"class_type": "EmptyImage", "inputs": {}},
                "7:3": {"class_type": class, "inputs": {"value": ["1", 0]}},
            }))
        };
        assert_eq!(forbidden(&alone("PreviewImage"), &allowed, &[]), None);
        for class in ["SaveImage", "EvilNode", "CheckpointSave", "GeminiNode"] {
            let found = forbidden(&alone(class), &allowed, &[]);
            assert_eq!(found, Some(Forbidden::Class { node: "7:3".into(), class: class.into() }));
        }
        assert_eq!(forbidden(&alone("EvilNode"), &Allowed::default(), &[]), None, "no rules, no bounds");
    }

    #[test]
    fn a_model_is_found_in_any_text_and_not_through_a_link() {
        let allowed = Allowed { models: rules(&["public/*"], &["*/secret*"]), ..Allowed::default() };
        let fleet = [Arc::new(Catalogue::read(CATALOGUE).unwrap())];
        let with = |name: Value| {
            graph(json!({
                "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
                "2": {"class_type": "PrimitiveString", "inputs": {"value": "a text"}},
            }))
        };
        for fine in [json!("public/a.safetensors"), json!("public\\a.safetensors"), json!("no model")] {
            assert_eq!(forbidden(&with(fine.clone()), &allowed, &fleet), None, "{fine}");
        }
        for bad in [json!("a.safetensors"), json!("public/secret.ckpt"), json!({"__value__": "b.pt"})] {
            let found = forbidden(&with(bad.clone()), &allowed, &fleet);
            assert!(matches!(found, Some(Forbidden::Model { .. })), "{bad}");
        }
        for fleet in [&fleet[..], &[]] {
            let found = forbidden(&with(json!(["2", 0])), &allowed, fleet);
            assert!(matches!(found, Some(Forbidden::LinkedModel { .. })));
        }
    }

    #[test]
    fn core_classes_exist_speak_to_nobody_and_name_no_files_of_others() {
        let catalogue: Value = serde_json::from_str(CATALOGUE).unwrap();
        assert!(CORE_CLASSES.len() > 500);
        for name in CORE_CLASSES.iter() {
            let class = &catalogue[name];
            assert!(class.is_object(), "{name} is in no catalogue");
            assert_ne!(class["api_node"], true, "{name}");
            let module = class["python_module"].as_str().unwrap();
            assert!(module == "nodes" || module.starts_with("comfy_extras."), "{name} of {module}");
            let inputs =
                ["required", "optional"].iter().filter_map(|it| class["input"][it].as_object()).flatten();
            for (input, spec) in inputs {
                let takes_path = ["path", "folder", "dir", "url"]
                    .iter()
                    .any(|it| input.split('_').any(|word| word == *it));
                assert!(!(takes_path && spec[0] == "STRING"), "{name}.{input}");
            }
        }
        for out in
            ["CheckpointSave", "SaveImageDataSetToFolder", "TrainLoraNode", "GLSLShader", "SaveSVGNode"]
        {
            assert!(catalogue[out].is_object() && !CORE_CLASSES.contains(out), "{out}");
        }
    }

    #[test]
    fn rules_that_mean_nothing_are_mistakes() {
        let of = |rules: Rules| check_rules(&Allowed { models: rules, ..Allowed::default() });
        assert!(of(rules(&["a*"], &["?"])).is_ok());
        assert!(of(rules(&["@core"], &[])).is_err());
        assert!(of(rules(&[""], &[])).is_err());
        let classes = Allowed { classes: rules(&["@nothing"], &[]), ..Allowed::default() };
        assert!(check_rules(&classes).is_err());
    }
}
