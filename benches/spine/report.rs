//! The report: the figures as a table for a terminal or for docs/performance.md, or as JSON.

use std::fs;

use serde_json::{Value, json};

use crate::{
    figures::{Figures, Row, Spread},
    options::Server,
};

/// The machine that was measured, in one line.
pub(crate) fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let row_cells = text.lines().find(|row_cells| row_cells.starts_with(name))?;
        Some(row_cells.split_once(':')?.1.trim().to_owned())
    };
    let model = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory: u64 = after(&read("/proc/meminfo"), "MemTotal").and_then(|kb| kb.trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{model}, {cores} cores, {} GB of memory, Linux {}, load {load} at the end", memory / 1_000_000, kernel.trim())
}

pub(crate) fn to_json(figures: &Figures, settings: &str) -> Value {
    json!({"machine": machine(), "settings": settings, "rows": figures.rows.iter().map(Row::to_json).collect::<Vec<_>>()})
}

/// A table that is Markdown and reads well on a terminal.
pub(crate) fn to_table(figures: &Figures, settings: &str) -> String {
    let head = ["load", "what", "loomd", "relay", "node", "loomd ÷ relay", "loomd ÷ node", "goal"].map(str::to_owned);
    let mut lines = vec![head];
    lines.extend(figures.rows.iter().map(row_cells));
    let widths: Vec<usize> =
        (0..8).map(|column| lines.iter().map(|row_cells| row_cells[column].chars().count()).max().unwrap_or(0)).collect();
    let print = |row_cells: &[String; 8]| {
        let cells: Vec<String> = row_cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}|\n", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    let mut table = format!("{}.\n{settings}.\nMedian (least–most).\n\n{}{rule}", machine(), print(&lines[0]));
    table.extend(lines[1..].iter().map(print));
    table
}

fn row_cells(row: &Row) -> [String; 8] {
    let what = if row.metric.unit.is_empty() { row.metric.name.to_owned() } else { format!("{}, {}", row.metric.name, row.metric.unit) };
    let cell = |spread: Option<Spread>| spread.map_or("–".to_owned(), format_spread);
    let goals = row.goals().into_iter().map(|(goal, reached)| match reached {
        Some(true) => format!("{goal} ✓"),
        Some(false) => format!("{goal} ✗"),
        None => goal,
    });
    let goals = goals.collect::<Vec<_>>().join(", ");
    let [loomd, relay, node] = [Server::Loomd, Server::Relay, Server::Node].map(|server| cell(row.spread(server)));
    [row.load.clone(), what, loomd, relay, node, cell(row.ratio(Server::Relay)), cell(row.ratio(Server::Node)), goals]
}

fn format_spread(Spread { min, median, max }: Spread) -> String {
    format!("{} ({}–{})", three_digits(median), three_digits(min), three_digits(max))
}

/// A number with three significant digits.
fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
