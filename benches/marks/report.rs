//! What was measured: medians, how far they spread, and whether the mark is reached.

use std::fmt;

/// Figures of several runs.
#[derive(Clone, Debug, Default)]
pub struct Runs(Vec<f64>);

impl Runs {
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn ends(&self) -> (f64, f64) {
        let low = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }

    pub fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|figure| figure * factor).collect())
    }

    /// Pair by pair.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.ends();
        match self.0.len() {
            1 => write!(out, "{}", short(self.median())),
            _ => {
                let [median, low, high] = [self.median(), low, high].map(short);
                write!(out, "{median} ({low}–{high})")
            }
        }
    }
}

fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 1000.0 => format!("{figure:.0}"),
        large if large >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.3}"),
    }
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    AtMost(f64),
    AtLeast(f64),
    /// For comparison only.
    Shown,
}

#[derive(Clone, Debug)]
pub struct Row {
    number: u8,
    what: String,
    figure: Runs,
    /// The reference over itself.
    beside: Option<Runs>,
    mark: Mark,
}

impl Row {
    fn reached(&self) -> &'static str {
        let median = self.figure.median();
        match self.mark {
            Mark::AtMost(limit) if median <= limit => "reached",
            Mark::AtLeast(limit) if median >= limit => "reached",
            Mark::AtMost(_) | Mark::AtLeast(_) if self.is_noise() => "undecided",
            Mark::AtMost(_) | Mark::AtLeast(_) => "**missed**",
            Mark::Shown => "",
        }
    }

    /// Whether the reference differs as much from itself.
    fn is_noise(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| {
            let (low, high) = beside.ends();
            (low..=high).contains(&self.figure.median())
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.mark {
            Mark::AtMost(limit) => format!("≤ {limit}"),
            Mark::AtLeast(limit) => format!("≥ {limit}"),
            Mark::Shown => String::new(),
        };
        let (number, what, figure) = (self.number, &self.what, &self.figure);
        write!(
            out,
            "| {number} | {what} | {figure} | {mark} | {} |",
            self.reached()
        )
    }
}

/// What is printed and kept.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn add(&mut self, number: u8, what: &str, figure: Runs, mark: Mark) {
        self.push(Row {
            number,
            what: what.to_owned(),
            figure,
            beside: None,
            mark,
        });
    }

    /// A ratio, and that of the reference over itself.
    pub fn compare(&mut self, number: u8, what: &str, figure: Runs, beside: Runs, mark: Mark) {
        self.push(Row {
            number,
            what: what.to_owned(),
            figure,
            beside: Some(beside.clone()),
            mark,
        });
        self.add(number, "the same, plain over plain", beside, Mark::Shown);
    }

    #[allow(clippy::print_stdout)]
    fn push(&mut self, row: Row) {
        println!("{row}");
        self.rows.push(row);
    }

    pub fn one(&mut self, number: u8, what: &str, figure: f64, mark: Mark) {
        self.add(number, what, Runs(vec![figure]), mark);
    }

    /// The rows of the table, with the numbers of their marks.
    pub fn rows(&self) -> impl Iterator<Item = (u8, String)> {
        self.rows.iter().map(|row| (row.number, row.to_string()))
    }
}
