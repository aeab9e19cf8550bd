//! Tables for people, objects for programs.

use std::io;

use serde_json::{Map, Value};

use super::say;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Output {
    #[default]
    Text,
    Json,
}

/// One column: its header as tables show it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Column(pub(in crate::cli) &'static str);

/// Rows of values; nothing is a dash.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(in crate::cli) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.iter().map(|name| Column(name)).collect(), rows: Vec::new() }
    }

    pub(in crate::cli) fn row(&mut self, values: Vec<Value>) {
        self.rows.push(values);
    }

    /// # Errors
    /// Nobody reads it any more.
    pub(in crate::cli) fn print(&self, output: Output) -> io::Result<()> {
        match output {
            Output::Text => self.lines().iter().try_for_each(|line| say(line)),
            Output::Json => self.objects().iter().try_for_each(|object| say(&object.to_string())),
        }
    }

    fn lines(&self) -> Vec<String> {
        let texts: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        let width = |at: usize, column: &Column| {
            let of_rows = texts.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
            of_rows.chain([column.0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = self.columns.iter().enumerate().map(|(at, column)| width(at, column)).collect();
        let header: Vec<String> = self.columns.iter().map(|column| column.0.to_owned()).collect();
        let line = |cells: &[String]| {
            let cells = cells.iter().enumerate().map(|(at, cell)| {
                let width = widths.get(at).copied().unwrap_or(0);
                format!("{cell:<width$}")
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        [line(&header)].into_iter().chain(texts.iter().map(|row| line(row))).collect()
    }

    fn objects(&self) -> Vec<Value> {
        let object = |row: &Vec<Value>| {
            let fields = self.columns.iter().zip(row).map(|(column, value)| (snake_case(column.0), value.clone()));
            Value::Object(fields.collect::<Map<String, Value>>())
        };
        self.rows.iter().map(object).collect()
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => float.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn snake_case(header: &str) -> String {
    header.to_ascii_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_and_nothing_is_a_dash() {
        let mut table = Table::new(&["TOPIC", "END OFFSET", "MEMBER"]);
        table.row(vec![json!("orders"), json!(1245), Value::Null]);
        table.row(vec![json!("x"), json!(7), json!("m-1")]);
        let lines = ["TOPIC   END OFFSET  MEMBER", "orders  1245        -", "x       7           m-1"];
        assert_eq!(table.lines(), lines);
        assert_eq!(table.objects()[0], json!({"topic": "orders", "end_offset": 1245, "member": null}));
    }
}
