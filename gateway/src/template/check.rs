//! A definition, checked: everything that is wrong with it is found at once.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Checked, Definition, Kind, MAX_NAME_BYTES, MAX_PARAMETERS, MAX_TARGETS, Parameter, Template, ValueType,
};

/// Something that is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The parameter's name; empty where it is about all of them.
    pub parameter: String,
    /// What is wrong, in words.
    pub reason: String,
}

impl Template {
    /// Checks a definition: names, types, bounds, defaults, and that each target is a literal input of the graph.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(definition: Definition) -> Result<Self, Vec<Fault>> {
        let Definition { workflow, parameters } = definition;
        let workflow = Value::Object(workflow);
        let mut faults = Vec::new();
        if parameters.len() > MAX_PARAMETERS {
            faults.push(fault("", format!("more than {MAX_PARAMETERS} parameters")));
        }
        let (mut names, mut targets) = (BTreeSet::new(), BTreeSet::new());
        let mut checked = Vec::with_capacity(parameters.len());
        for parameter in parameters.into_iter().take(MAX_PARAMETERS) {
            if !names.insert(parameter.name.clone()) {
                faults.push(fault(&parameter.name, "the name is there twice"));
            }
            for target in &parameter.targets {
                if !targets.insert(target.clone()) {
                    faults.push(fault(&parameter.name, format!("{target} is set twice")));
                }
            }
            match one(parameter, &workflow) {
                Ok(parameter) => checked.push(parameter),
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(Self { workflow, parameters: checked }) } else { Err(faults) }
    }
}

fn fault(parameter: &str, reason: impl Into<String>) -> Fault {
    Fault { parameter: parameter.chars().take(MAX_NAME_BYTES).collect(), reason: reason.into() }
}

fn one(parameter: Parameter, workflow: &Value) -> Result<Checked, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut wrong = |reason: String| faults.push(fault(&parameter.name, reason));
    if !is_name(&parameter.name) {
        wrong(format!("a name is 1 to {MAX_NAME_BYTES} letters, digits, '_' or '-'"));
    }
    if !(1..=MAX_TARGETS).contains(&parameter.targets.len()) {
        wrong(format!("a parameter has 1 to {MAX_TARGETS} targets"));
    }
    for target in parameter.targets.iter().take(MAX_TARGETS) {
        if let Err(reason) = check_target(workflow, target, parameter.value_type) {
            wrong(reason);
        }
    }
    if parameter.required && parameter.default.is_some() {
        wrong("a required parameter needs no default".into());
    }
    let kind = match Kind::read(&parameter) {
        Ok(kind) => kind,
        Err(reason) => {
            wrong(reason);
            return Err(faults);
        }
    };
    if let Some(default) = &parameter.default
        && let Err(reason) = kind.check(default)
    {
        wrong(format!("its default is {reason}; allowed is {}", kind.allowed()));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let Parameter { name, targets, default, required, .. } = parameter;
    Ok(Checked { name, kind, targets, default, required })
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_fine)
}

/// A target is a literal input of a node (of a size: the inputs, with a literal width and height).
fn check_target(workflow: &Value, target: &str, value_type: ValueType) -> Result<(), String> {
    let shown: String = target.chars().take(200).collect();
    let is_literal = |pointer: &str| match workflow.pointer(pointer) {
        None => Err(format!("{shown} leads to nothing in the workflow")),
        Some(Value::Array(link)) if matches!(link.as_slice(), [Value::String(_), Value::Number(_)]) => {
            Err(format!("{shown} is a link, not a value"))
        }
        Some(_) => Ok(()),
    };
    let depth = target.matches('/').count();
    let is_input = target.split('/').nth(2) == Some("inputs");
    if value_type == ValueType::Size {
        if depth != 2 || !is_input {
            return Err(format!("{shown} must be the inputs of a node, such as /5/inputs"));
        }
        is_literal(&format!("{target}/width"))?;
        return is_literal(&format!("{target}/height"));
    }
    if depth < 3 || !is_input {
        return Err(format!("{shown} must be an input of a node, such as /6/inputs/text"));
    }
    is_literal(target)
}
