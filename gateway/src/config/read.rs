//! Reads a file setting by setting, so that one mistake does not hide the next.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::file::{File, Tenant};

/// Reads what can be read and notes what cannot.
pub(super) fn file(text: &str, mistakes: &mut Vec<String>) -> File {
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            mistakes.push(format!("the file is not TOML: {}", error.to_string().trim_end()));
            return File::default();
        }
    };
    let mut plain = Table::new();
    let mut file = File::default();
    for (name, value) in table {
        match (name.as_str(), value) {
            ("log", value) => file.log = section("log", value, mistakes),
            ("http", value) => file.http = section("http", value, mistakes),
            ("tls", value) => file.tls = section("tls", value, mistakes),
            ("workflow", value) => file.workflow = section("workflow", value, mistakes),
            ("scheduler", value) => file.scheduler = section("scheduler", value, mistakes),
            ("engine", value) => file.engine = section("engine", value, mistakes),
            ("runner", value) => file.runner = section("runner", value, mistakes),
            ("pictures", value) => file.pictures = section("pictures", value, mistakes),
            ("nvml", value) => file.nvml = section("nvml", value, mistakes),
            ("templates", value) => file.templates = section("templates", value, mistakes),
            ("prices", value) => file.prices = section("prices", value, mistakes),
            ("retention", value) => file.retention = section("retention", value, mistakes),
            ("instances", Value::Array(list)) => file.instances = tables("instances", list, mistakes),
            ("sinks", Value::Array(list)) => file.sinks = tables("sinks", list, mistakes),
            ("sinks", _) => mistakes.push("sinks: expected [[sinks]] tables".to_owned()),
            ("outside", value) => file.outside = section("outside", value, mistakes),
            ("webhooks", value) => file.webhooks = section("webhooks", value, mistakes),
            ("instances", _) => mistakes.push("instances: expected [[instances]] tables".to_owned()),
            ("tenants", Value::Array(list)) => file.tenants = tenants(list, mistakes),
            ("tenants", _) => mistakes.push("tenants: expected [[tenants]] tables".to_owned()),
            ("runners", _) => {
                mistakes.push(format!("{name}: not in this version"));
            }
            (_, value) => {
                plain.insert(name, value);
            }
        }
    }
    let top: File = section("", Value::Table(plain), mistakes);
    File {
        log: file.log,
        http: file.http,
        tls: file.tls,
        workflow: file.workflow,
        scheduler: file.scheduler,
        engine: file.engine,
        runner: file.runner,
        pictures: file.pictures,
        nvml: file.nvml,
        sinks: file.sinks,
        templates: file.templates,
        prices: file.prices,
        retention: file.retention,
        outside: file.outside,
        webhooks: file.webhooks,
        instances: file.instances,
        tenants: file.tenants,
        ..top
    }
}

fn tables<T: DeserializeOwned + Default>(name: &str, list: Vec<Value>, mistakes: &mut Vec<String>) -> Vec<T> {
    let indexed = list.into_iter().enumerate();
    indexed.map(|(index, value)| section(&format!("{name}[{index}]"), value, mistakes)).collect()
}

fn tenants(list: Vec<Value>, mistakes: &mut Vec<String>) -> Vec<Tenant> {
    list.into_iter()
        .enumerate()
        .map(|(index, value)| section(&format!("tenants[{index}]"), value, mistakes))
        .collect()
}

fn section<T: DeserializeOwned + Default>(name: &str, value: Value, mistakes: &mut Vec<String>) -> T {
    let Value::Table(table) = value else {
        mistakes.push(format!("{name}: expected a table"));
        return T::default();
    };
    let mut good = Table::new();
    for (key, value) in table {
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        match alone.try_into::<T>() {
            Ok(_) => {
                good.insert(key, value);
            }
            Err(error) => {
                let path = if name.is_empty() { key } else { format!("{name}.{key}") };
                mistakes.push(format!("{path}: {}", error.message()));
            }
        }
    }
    good.try_into().unwrap_or_default()
}
