//! Takes settings out of a TOML table and the environment, and remembers what was wrong or left over.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Problem;

/// Where settings come from; each may be taken once.
pub(super) struct Source<'a> {
    table: Table,
    env: &'a dyn Fn(&str) -> Option<String>,
    sections: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'a> Source<'a> {
    /// A file that is not TOML is one problem; the environment is still checked.
    pub(super) fn new(file: &str, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let mut problems = Vec::new();
        let table = file.parse::<Table>().unwrap_or_else(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + file.bytes().take(span.start).filter(|&byte| byte == b'\n').count());
            problems.push(Problem {
                place: format!("settings file, line {line}"),
                message: error.message().to_owned(),
            });
            Table::new()
        });
        Self { table, env, sections: BTreeSet::new(), problems }
    }

    /// The value of `setting` (`name` or `section.name`); the variable `env`, if it has one, goes before the file.
    pub(super) fn get<T>(
        &mut self,
        setting: &str,
        env: &str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let from_file = self.take(setting);
        let from_env = Some(env)
            .filter(|name| !name.is_empty())
            .and_then(|name| (self.env)(name))
            .filter(|value| !value.is_empty());
        let (place, text) = match (from_env, from_file) {
            (Some(text), _) => (env, text),
            (None, Some(Value::String(text))) => (setting, text),
            (None, Some(Value::Integer(number))) => (setting, number.to_string()),
            (None, Some(Value::Boolean(flag))) => (setting, flag.to_string()),
            (None, Some(_)) => {
                self.problem(setting, "text, a whole number, true or false is expected");
                return None;
            }
            (None, None) => return None,
        };
        parse(&text).map_err(|message| self.problem(place, &message)).ok()
    }

    /// The variable `name`, unless it is unset or empty: what the platform sets, not we.
    pub(super) fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// The tables below `section.name`, by their names.
    pub(super) fn tables(&mut self, setting: &str) -> Vec<(String, Table)> {
        let tables = match self.take(setting) {
            None => Table::new(),
            Some(Value::Table(tables)) => tables,
            Some(_) => {
                self.problem(setting, "a table of tables is expected");
                Table::new()
            }
        };
        let mut found = Vec::new();
        for (name, value) in tables {
            match value {
                Value::Table(table) => found.push((name, table)),
                _ => self.problem(&format!("{setting}.{name}"), "a table is expected"),
            }
        }
        found
    }

    /// Remembers a problem.
    pub(super) fn problem(&mut self, place: &str, message: &str) {
        self.problems.push(Problem { place: place.to_owned(), message: message.to_owned() });
    }

    /// All problems, names that nobody took included.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for (name, value) in std::mem::take(&mut self.table) {
            match value {
                Value::Table(section) if self.sections.contains(&name) => {
                    for left in section.keys() {
                        self.problem(&format!("{name}.{left}"), "there is no such setting");
                    }
                }
                _ => self.problem(&name, "there is no such setting"),
            }
        }
        self.problems
    }

    fn take(&mut self, setting: &str) -> Option<Value> {
        match setting.split_once('.') {
            None => self.table.remove(setting),
            Some((section, name)) => {
                self.sections.insert(section.to_owned());
                self.table.get_mut(section)?.as_table_mut()?.remove(name)
            }
        }
    }
}
