//! Checks of a single input.

use serde_json::{Value, json};

use super::finding;
use crate::files::Files;

/// Checks and converts a literal as the type of its input demands.
pub(super) fn literal(class: &str, name: &str, definition: &Value, value: Value) -> Result<Value, Value> {
    let kind = type_name(&definition[0]);
    let converted = match kind.as_str() {
        "INT" => to_integer(&value),
        "FLOAT" => to_float(&value),
        "STRING" => Ok(match value {
            Value::String(_) => value.clone(),
            ref other => json!(other.to_string()),
        }),
        "BOOLEAN" => Ok(json!(truth(&value))),
        _ => Ok(value.clone()),
    };
    let value = converted.map_err(|problem| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let extra = json!({
            "input_name": name,
            "input_config": definition,
            "received_value": value,
            "exception_message": problem,
        });
        let message = format!("Failed to convert an input value to a {kind} value");
        finding("invalid_input_type", &message, &format!("{name}, {shown}, {problem}"), extra)
    })?;
    range(name, definition, &value)?;
    options(class, name, definition, &value)?;
    Ok(value)
}

fn range(name: &str, definition: &Value, value: &Value) -> Result<(), Value> {
    let Some(number) = value.as_f64() else { return Ok(()) };
    let extra = || json!({"input_name": name, "input_config": definition, "received_value": value});
    let limit = |key: &str| definition[1].get(key).and_then(|limit| Some((limit, limit.as_f64()?)));
    if let Some((shown, min)) = limit("min")
        && number < min
    {
        let message = format!("Value {value} smaller than min of {shown}");
        return Err(finding("value_smaller_than_min", &message, name, extra()));
    }
    if let Some((shown, max)) = limit("max")
        && number > max
    {
        let message = format!("Value {value} bigger than max of {shown}");
        return Err(finding("value_bigger_than_max", &message, name, extra()));
    }
    Ok(())
}

/// COMBO values must be listed, unless the class checks them itself or the list is filled in elsewhere.
fn options(class: &str, name: &str, definition: &Value, value: &Value) -> Result<(), Value> {
    let listed = match &definition[0] {
        Value::Array(options) => Some(options),
        Value::String(kind) if kind == "COMBO" => definition[1].get("options").and_then(Value::as_array),
        _ => None,
    };
    let Some(listed) = listed else { return Ok(()) };
    let checks_itself = class.starts_with("LoadImage") || matches!(class, "LoadAudio" | "LoadVideo");
    if checks_itself || listed.contains(value) {
        return Ok(());
    }
    let shown: Vec<String> = listed.iter().map(python).collect();
    let details = format!("{name}: {} not in [{}]", python(value), shown.join(", "));
    let extra = json!({"input_name": name, "input_config": definition, "received_value": value});
    Err(finding("value_not_in_list", "Value not in list", &details, extra))
}

/// As Python's `repr` shows it.
fn python(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

fn to_integer(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => Ok(value.clone()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Python's int() cuts off too; limits are checked next"
        )]
        Value::Number(number) => Ok(json!(number.as_f64().unwrap_or(0.0) as i64)),
        Value::Bool(flag) => Ok(json!(i64::from(*flag))),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Ok(json!(number)),
            Err(_) => Err(format!("invalid literal for int() with base 10: '{text}'")),
        },
        _ => {
            Err("int() argument must be a string, a bytes-like object or a real number, not 'dict'"
                .to_owned())
        }
    }
}

fn to_float(value: &Value) -> Result<Value, String> {
    match value {
        Value::Number(number) => Ok(json!(number.as_f64().unwrap_or(0.0))),
        Value::Bool(flag) => Ok(json!(f64::from(u8::from(*flag)))),
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(number) => Ok(json!(number)),
            Err(_) => Err(format!("could not convert string to float: '{text}'")),
        },
        _ => Err("float() argument must be a string or a real number, not 'dict'".to_owned()),
    }
}

/// Python's `bool()`.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The name of a type; a list of options is a COMBO.
pub(super) fn type_name(kind: &Value) -> String {
    kind.as_str().unwrap_or("COMBO").to_owned()
}

/// Whether an input of type `expected` takes an output of type `received`.
pub(super) fn accepts(expected: &Value, received: &Value) -> bool {
    let (wanted, given) = (type_name(expected), type_name(received));
    if wanted == "*" || given == "*" || given.starts_with("COMFY_") || wanted.starts_with("COMFY_") {
        return true;
    }
    let given: Vec<&str> = given.split(',').collect();
    wanted.split(',').any(|wanted| given.contains(&wanted))
}

/// Checks that classes make themselves.
pub(super) fn custom(class: &str, inputs: &Value, files: &Files) -> Vec<Value> {
    let failed = |name: &str, what: String| {
        let details = format!("{name} - {what}");
        let message = "Custom validation failed for node";
        finding("custom_validation_failed", message, &details, json!({"input_name": name}))
    };
    match class {
        "LoadImage" | "LoadImageMask" | "LoadImageOutput" => {
            let Some(name) = inputs["image"].as_str() else { return Vec::new() };
            if files.annotated(name).is_some() {
                return Vec::new();
            }
            vec![failed("image", format!("Invalid image file: {name}"))]
        }
        "TestCustomValidation1" if inputs["input1"].is_string() => ["input1", "input2"]
            .map(|name| failed(name, "Invalid type of input1: <class 'str'>".to_owned()))
            .to_vec(),
        _ => Vec::new(),
    }
}
