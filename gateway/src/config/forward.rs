//! Checks of what is passed on to custom nodes: no rule may stand before a route of ours, or let a credential pass.

use std::collections::BTreeSet;

use super::file::{File, Forward};
use crate::http;

/// The methods that may be passed on. `HEAD` comes with `GET`.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn check(file: &File, mistakes: &mut Vec<String>) {
    let instances: BTreeSet<&str> = file.instances.iter().map(|instance| instance.name.as_str()).collect();
    let mut prefixes = BTreeSet::new();
    for (index, rule) in file.native.forward.iter().enumerate() {
        let mut mistake = |what: String| mistakes.push(format!("native.forward[{index}].{what}"));
        if let Some(what) = bad_prefix(rule) {
            mistake(format!("prefix: \"{}\" {what}", rule.prefix));
        }
        if !prefixes.insert(rule.bare_prefix()) {
            mistake(format!("prefix: \"{}\" is there twice", rule.prefix));
        }
        let unknown = |method: &&String| !METHODS.contains(&method.as_str());
        if let Some(method) = rule.methods.iter().find(unknown) {
            mistake(format!("methods: \"{method}\" is not one of {}", METHODS.join(", ")));
        }
        if rule.methods.is_empty() || !is_set(&rule.methods) {
            mistake("methods: must name at least one, each once".to_owned());
        }
        for name in rule.instances.iter().filter(|name| !instances.contains(name.as_str())) {
            mistake(format!("instances: there is no instance \"{name}\""));
        }
        if rule.jobs && rule.instances.is_empty() {
            mistake("jobs: wants the names of instances".to_owned());
        }
        for name in rule.headers.iter().filter(|name| !http::may_pass(name)) {
            mistake(format!("headers: \"{name}\" is no header, or one that is never passed on"));
        }
        if rule.max_body_bytes == 0 || rule.timeout_seconds == 0 {
            mistake("max_body_bytes, timeout_seconds: must be above 0".to_owned());
        }
    }
}

fn is_set(methods: &[String]) -> bool {
    methods.iter().collect::<BTreeSet<_>>().len() == methods.len()
}

/// What is wrong with a prefix.
fn bad_prefix(rule: &Forward) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_plain) && part != "." && part != "..";
    let bare = rule.bare_prefix();
    let is_path = bare.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_part));
    if !is_path {
        return Some("is not a path such as /my_node");
    }
    (!http::is_free(bare)).then_some("begins as a route of the gateway or of ComfyUI itself does")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(rule: Forward) -> Vec<String> {
        let mut file = File::default();
        file.native.forward = vec![rule];
        let mut mistakes = Vec::new();
        check(&file, &mut mistakes);
        mistakes
    }

    fn of_prefix(prefix: &str) -> Vec<String> {
        mistakes(Forward { prefix: prefix.to_owned(), ..Forward::default() })
    }

    #[test]
    fn a_prefix_is_a_plain_path_that_nothing_of_ours_begins_with() {
        for good in ["/my_node", "/api/etn", "/my_node/sub/", "/My.Node~1"] {
            assert_eq!(of_prefix(good), Vec::<String>::new(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/api",
            "/api/",
            "my_node",
            "//my_node",
            "/my_node//a",
            "/..",
            "/my_node/../prompt",
            "/{x}",
            "/my node",
            "/prompt",
            "/api/prompt",
            "/api/api",
            "/view/sub",
            "/v1",
            "/k",
            "/metrics",
            "/assets",
        ] {
            assert_eq!(of_prefix(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_rule_names_known_methods_instances_and_harmless_headers() {
        let rule = Forward { prefix: "/my_node".to_owned(), ..Forward::default() };
        let list = |name: &str| vec![name.to_owned()];
        for bad in [
            Forward { methods: list("CONNECT"), ..rule.clone() },
            Forward { methods: Vec::new(), ..rule.clone() },
            Forward { methods: vec!["GET".to_owned(); 2], ..rule.clone() },
            Forward { instances: list("nobody"), ..rule.clone() },
            Forward { jobs: true, ..rule.clone() },
            Forward { headers: list("Authorization"), ..rule.clone() },
            Forward { timeout_seconds: 0, ..rule.clone() },
        ] {
            assert_eq!(mistakes(bad.clone()).len(), 1, "{bad:?}");
        }
        assert_eq!(mistakes(rule), Vec::<String>::new());
    }
}
