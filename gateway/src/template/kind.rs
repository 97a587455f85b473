//! What the values of a parameter may be, and what they become in the graph.

use serde_json::{Number, Value, json};
use uuid::Uuid;

use super::{MAX_CHOICES, MAX_SIDE, MAX_TEXT_CHARS, Parameter, ValueType};

/// How far a `float` may lie beside a step.
const STEP_TOLERANCE: f64 = 1e-6;

/// The values that a parameter takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Int { min: i64, max: i64, step: i64 },
    Float { min: f64, max: f64, step: Option<f64> },
    Text { max_chars: u32 },
    Bool,
    Choice(Vec<Value>),
    Image,
    Seed { min: u64, max: u64 },
    Size(Vec<[u32; 2]>),
}

impl Kind {
    /// Reads what the author wrote, or says what is wrong with it.
    pub(super) fn read(parameter: &Parameter) -> Result<Self, String> {
        let Parameter { value_type, min, max, step, max_length, choices, sizes, .. } = parameter;
        let numeric = matches!(value_type, ValueType::Int | ValueType::Float);
        let is = |wanted| *value_type == wanted;
        for (name, given, fits) in [
            ("min", min.is_some(), numeric || is(ValueType::Seed)),
            ("max", max.is_some(), numeric || is(ValueType::Seed)),
            ("step", step.is_some(), numeric),
            ("max_length", max_length.is_some(), is(ValueType::Text)),
            ("choices", choices.is_some(), is(ValueType::Choice)),
            ("sizes", sizes.is_some(), is(ValueType::Size)),
        ] {
            if given && !fits {
                return Err(format!("{name} means nothing for this type"));
            }
        }
        match value_type {
            ValueType::Int => int(min.as_ref(), max.as_ref(), step.as_ref()),
            ValueType::Float => float(min.as_ref(), max.as_ref(), step.as_ref()),
            ValueType::Text => match max_length.unwrap_or(MAX_TEXT_CHARS) {
                0 => Err("max_length must be at least 1".into()),
                most if most > MAX_TEXT_CHARS => Err(format!("max_length must be at most {MAX_TEXT_CHARS}")),
                max_chars => Ok(Self::Text { max_chars }),
            },
            ValueType::Bool => Ok(Self::Bool),
            ValueType::Choice => choice(choices.as_deref().unwrap_or_default()),
            ValueType::Image => Ok(Self::Image),
            ValueType::Seed => seed(min.as_ref(), max.as_ref()),
            ValueType::Size => size(sizes.as_deref().unwrap_or_default()),
        }
    }

    /// Whether it takes this value; else what is wrong with it, in a word or two.
    pub(super) fn check(&self, value: &Value) -> Result<(), &'static str> {
        let ok = |fits: bool, wrong| if fits { Ok(()) } else { Err(wrong) };
        match self {
            Self::Int { min, max, step } => {
                let number = value.as_i64().ok_or("not a whole number")?;
                ok((*min..=*max).contains(&number), "out of range")?;
                let from = if *min == i64::MIN { 0 } else { *min };
                ok(number.abs_diff(from) % step.unsigned_abs() == 0, "not a step")
            }
            Self::Float { min, max, step } => {
                let number = value.as_f64().ok_or("not a number")?;
                ok((*min..=*max).contains(&number), "out of range")?;
                let from = if min.is_finite() { *min } else { 0.0 };
                let steps = step.map_or(0.0, |step| (number - from) / step);
                ok((steps - steps.round()).abs() < STEP_TOLERANCE, "not a step")
            }
            Self::Text { max_chars } => {
                let text = value.as_str().ok_or("not a text")?;
                ok(text.chars().count() <= *max_chars as usize, "too long")?;
                ok(!text.contains('\0'), "has a NUL")
            }
            Self::Bool => ok(value.is_boolean(), "not true or false"),
            Self::Choice(choices) => ok(choices.contains(value), "not one of the choices"),
            Self::Image => {
                let id = value.as_str().ok_or("not an asset's id")?;
                ok(Uuid::try_parse(id).is_ok(), "not an asset's id")
            }
            Self::Seed { min, max } => {
                let seed = value.as_u64().ok_or("not a whole number of 0 or more")?;
                ok((*min..=*max).contains(&seed), "out of range")
            }
            Self::Size(sizes) => {
                let given: [u32; 2] = serde_json::from_value(value.clone()).map_err(|_| "not a pair")?;
                ok(sizes.contains(&given), "not one of the sizes")
            }
        }
    }

    /// What is allowed, in words.
    pub(super) fn allowed(&self) -> String {
        match self {
            Self::Int { min, max, step } => {
                let steps = if *step == 1 { String::new() } else { format!(" in steps of {step}") };
                format!("a whole number from {min} to {max}{steps}")
            }
            Self::Float { min, max, step } => {
                let steps = step.map_or(String::new(), |step| format!(" in steps of {step}"));
                format!("a number from {min} to {max}{steps}")
            }
            Self::Text { max_chars } => format!("a text of at most {max_chars} characters"),
            Self::Bool => "true or false".into(),
            Self::Choice(choices) => {
                let choices: Vec<_> = choices.iter().map(Value::to_string).collect();
                format!("one of {}", choices.join(", "))
            }
            Self::Image => "the id of an asset or an output".into(),
            Self::Seed { min, max } => format!("a whole number from {min} to {max}"),
            Self::Size(sizes) => {
                let sizes: Vec<_> =
                    sizes.iter().map(|[width, height]| format!("[{width}, {height}]")).collect();
                format!("one of {}", sizes.join(", "))
            }
        }
    }

    /// Any value it takes: what the graph is judged with where nobody gave one.
    pub(super) fn sample(&self) -> Value {
        match self {
            Self::Int { min, max, .. } => json!(if *min == i64::MIN { 0.min(*max) } else { *min }),
            Self::Float { min, max, .. } => json!(if min.is_finite() { *min } else { 0.0_f64.min(*max) }),
            Self::Text { .. } => json!("a"),
            Self::Bool => json!(true),
            Self::Choice(choices) => choices.first().cloned().unwrap_or_default(),
            Self::Image => json!(Uuid::nil().to_string()),
            Self::Seed { min, .. } => json!(min),
            Self::Size(sizes) => sizes.first().map_or(Value::Null, |size| json!(size)),
        }
    }
}

fn int(min: Option<&Number>, max: Option<&Number>, step: Option<&Number>) -> Result<Kind, String> {
    let whole = |name, number: Option<&Number>, otherwise| match number {
        None => Ok(otherwise),
        Some(number) => number.as_i64().ok_or_else(|| format!("{name} must be a whole number")),
    };
    let (min, max) = (whole("min", min, i64::MIN)?, whole("max", max, i64::MAX)?);
    let step = whole("step", step, 1)?;
    if min > max || step < 1 {
        return Err("min must not be above max, and step must be at least 1".into());
    }
    Ok(Kind::Int { min, max, step })
}

fn float(min: Option<&Number>, max: Option<&Number>, step: Option<&Number>) -> Result<Kind, String> {
    let number = |number: Option<&Number>, otherwise| number.and_then(Number::as_f64).unwrap_or(otherwise);
    let (min, max) = (number(min, f64::NEG_INFINITY), number(max, f64::INFINITY));
    let step = step.and_then(Number::as_f64);
    if min > max || step.is_some_and(|step| step <= 0.0) {
        return Err("min must not be above max, and step must be above 0".into());
    }
    Ok(Kind::Float { min, max, step })
}

fn seed(min: Option<&Number>, max: Option<&Number>) -> Result<Kind, String> {
    let whole = |number: Option<&Number>, otherwise| match number {
        None => Ok(otherwise),
        Some(number) => number.as_u64().ok_or_else(|| "bounds must be whole numbers of 0 or more".to_owned()),
    };
    let (min, max) = (whole(min, 0)?, whole(max, u64::MAX)?);
    if min > max { Err("min must not be above max".into()) } else { Ok(Kind::Seed { min, max }) }
}

fn choice(choices: &[Value]) -> Result<Kind, String> {
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    if !(1..=MAX_CHOICES).contains(&choices.len()) || !choices.iter().all(is_plain) {
        return Err(format!("choices must be 1 to {MAX_CHOICES} texts, numbers or booleans"));
    }
    Ok(Kind::Choice(choices.to_vec()))
}

fn size(sizes: &[[u32; 2]]) -> Result<Kind, String> {
    let is_fine = |size: &[u32; 2]| size.iter().all(|side| (1..=MAX_SIDE).contains(side));
    if !(1..=MAX_CHOICES).contains(&sizes.len()) || !sizes.iter().all(is_fine) {
        return Err(format!("sizes must be 1 to {MAX_CHOICES} pairs of 1 to {MAX_SIDE}"));
    }
    Ok(Kind::Size(sizes.to_vec()))
}
