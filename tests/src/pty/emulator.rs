//! A terminal as a person sees it: bytes in, rows of text out (ECMA-48, xterm's control sequences).
//!
//! It obeys more than most terminals do, so that nothing which commands any of them goes unseen: control
//! characters above 127 (C1) as well. It keeps the rows that have left its window.

use std::collections::BTreeSet;
use std::fmt;

use unicode_width::UnicodeWidthChar as _;

/// The treatment of rows when the window gets another width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The rows are cut, as by xterm.
    Cut,
    /// Lines are broken into rows anew, as by most others.
    Reflow,
}

/// An emulated terminal.
#[derive(Debug)]
pub struct Emulator {
    columns: usize,
    height: usize,
    resize: Resize,
    rows: Vec<Row>,
    /// The row that the cursor is in, counted from the first there ever was.
    row: usize,
    /// The column that the cursor is in; behind the last one after a character was put there.
    column: usize,
    style: String,
    /// The beginning of a character or of a control sequence.
    begun: Vec<u8>,
    /// The controls that the terminal has obeyed: `CR`, `LF`, `CSI J`, `OSC` and so on.
    pub obeyed: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    cells: Vec<Cell>,
    /// True if the line goes on in the next row.
    goes_on: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    /// A character with what combines with it; empty behind one of two columns.
    text: String,
    style: String,
}

impl Row {
    fn text(&self) -> String {
        let text: String = self.cells.iter().map(|cell| cell.text.as_str()).collect();
        text.trim_end_matches(' ').to_owned()
    }
}

impl Emulator {
    /// Makes an empty terminal.
    #[must_use]
    pub fn new(columns: usize, height: usize, resize: Resize) -> Self {
        Self {
            columns,
            height,
            resize,
            rows: vec![Row::default()],
            row: 0,
            column: 0,
            style: String::new(),
            begun: Vec::new(),
            obeyed: BTreeSet::new(),
        }
    }

    /// Returns all rows without blanks at their ends, those that have left the window too, up to
    /// the last that has text.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let mut rows: Vec<_> = self.rows.iter().map(Row::text).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Returns the lines, however many rows each takes.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for row in &self.rows {
            let line = lines.last_mut().expect("one at least");
            line.extend(row.cells.iter().map(|cell| cell.text.as_str()));
            if !row.goes_on {
                lines.push(String::new());
            }
        }
        let mut lines: Vec<_> = lines.iter().map(|line| line.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Returns the parts of a row that look alike, each with the numbers of its style (ECMA-48:
    /// SGR), such as `31`.
    #[must_use]
    pub fn styles(&self, row: usize) -> Vec<(String, String)> {
        let mut parts: Vec<(String, String)> = Vec::new();
        for cell in self.rows.get(row).into_iter().flat_map(|row| &row.cells) {
            match parts.last_mut() {
                Some((style, text)) if *style == cell.style => text.push_str(&cell.text),
                _ => parts.push((cell.style.clone(), cell.text.clone())),
            }
        }
        parts
    }

    /// Takes what a program wrote.
    pub fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.begun.push(*byte);
            let begun = std::mem::take(&mut self.begun);
            self.begun = self.step(begun);
        }
    }

    /// Sets the width of the window, in columns.
    pub fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
        match self.resize {
            Resize::Cut => {
                for row in &mut self.rows {
                    row.cells.truncate(columns);
                    row.goes_on = false;
                }
                self.column = self.column.min(columns);
            }
            Resize::Reflow => self.reflow(),
        }
    }

    fn reflow(&mut self) {
        let old = std::mem::take(&mut self.rows);
        let (row, column) = (self.row, self.column);
        let mut continues = false;
        for (number, old) in old.into_iter().enumerate() {
            if !continues {
                self.rows.push(Row::default());
            }
            let length = old.cells.len();
            let is_behind = |at: usize| old.cells.get(at).is_some_and(|cell| cell.text.is_empty());
            for (at, cell) in old.cells.iter().enumerate() {
                let width = if is_behind(at + 1) { 2 } else { 1 };
                let mut last = self.rows.len() - 1;
                if !is_behind(at) && self.rows[last].cells.len() + width > self.columns {
                    self.rows[last].goes_on = true;
                    self.rows.push(Row::default());
                    last += 1;
                }
                if (number, at) == (row, column) {
                    (self.row, self.column) = (last, self.rows[last].cells.len());
                }
                self.rows[last].cells.push(cell.clone());
            }
            if number == row && length <= column {
                self.row = self.rows.len() - 1;
                let behind = self.rows[self.row].cells.len() + column - length;
                self.column = behind.min(self.columns);
            }
            continues = old.goes_on;
        }
    }

    /// Carries out what is complete, and returns what is not.
    fn step(&mut self, begun: Vec<u8>) -> Vec<u8> {
        match begun[0] {
            0x1b => self.escape(begun),
            byte @ (0..=0x1f | 0x7f) => {
                self.control(byte);
                Vec::new()
            }
            _ => self.text(begun),
        }
    }

    fn text(&mut self, begun: Vec<u8>) -> Vec<u8> {
        match std::str::from_utf8(&begun) {
            Ok(text) => {
                let character = text.chars().next().expect("a character");
                match character {
                    // The same as ESC and another character.
                    '\u{80}'..='\u{9f}' => {
                        self.obeyed.insert("C1".to_owned());
                        self.escape(vec![0x1b, character as u8 - 0x40])
                    }
                    _ => {
                        self.put(character);
                        Vec::new()
                    }
                }
            }
            Err(error) if error.error_len().is_none() => begun,
            Err(error) => {
                self.obeyed.insert("invalid".to_owned());
                self.put(char::REPLACEMENT_CHARACTER);
                let invalid = error.error_len().unwrap_or(1);
                begun[invalid..].iter().fold(Vec::new(), |mut rest, byte| {
                    rest.push(*byte);
                    self.step(rest)
                })
            }
        }
    }

    fn control(&mut self, byte: u8) {
        let name = match byte {
            b'\r' => "CR".to_owned(),
            b'\n' => "LF".to_owned(),
            b'\t' => "HT".to_owned(),
            byte => format!("control {byte}"),
        };
        self.obeyed.insert(name);
        match byte {
            b'\r' => self.column = 0,
            b'\n' | 0x0b | 0x0c => self.feed(false),
            b'\t' => self.column = (self.column / 8 * 8 + 8).min(self.columns.saturating_sub(1)),
            8 => self.column = self.column.saturating_sub(1),
            _ => {}
        }
    }

    /// Goes to the next row.
    fn feed(&mut self, goes_on: bool) {
        self.rows[self.row].goes_on = goes_on;
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Row::default());
        }
    }

    fn put(&mut self, character: char) {
        let width = character.width().unwrap_or(0);
        if width == 0 {
            let cells = &mut self.rows[self.row].cells;
            let before = self.column.min(cells.len());
            let cell = cells[..before].iter_mut().rfind(|cell| !cell.text.is_empty());
            if let Some(cell) = cell {
                cell.text.push(character);
            }
            return;
        }
        if self.column + width > self.columns {
            self.feed(true);
            self.column = 0;
        }
        let cells = &mut self.rows[self.row].cells;
        let blank = Cell { text: " ".to_owned(), style: String::new() };
        if cells.len() < self.column + width {
            cells.resize(self.column + width, blank);
        }
        let style = &self.style;
        cells[self.column] = Cell { text: character.to_string(), style: style.clone() };
        for cell in &mut cells[self.column + 1..self.column + width] {
            *cell = Cell { text: String::new(), style: style.clone() };
        }
        self.column += width;
    }

    fn escape(&mut self, begun: Vec<u8>) -> Vec<u8> {
        let last = begun.last().copied().unwrap_or_default();
        match begun.get(1).copied() {
            None => return begun,
            Some(b'[') => {
                if begun.len() < 3 || !(0x40..=0x7e).contains(&last) {
                    return begun;
                }
                let inside = String::from_utf8_lossy(&begun[2..begun.len() - 1]).into_owned();
                self.sequence(&inside, last);
            }
            // Texts of any length: titles, and what else is between these and ESC \ or BEL.
            Some(kind @ (b']' | b'P' | b'_' | b'^' | b'X')) => {
                if !begun.ends_with(b"\x1b\\") && !begun.ends_with(b"\xc2\x9c") && last != 7 {
                    return begun;
                }
                self.obeyed.insert(if kind == b']' { "OSC" } else { "a string" }.to_owned());
            }
            Some(b' '..=b'/') if !(0x30..=0x7e).contains(&last) => return begun,
            Some(_) => {
                self.obeyed.insert(format!("ESC {}", last as char));
                match last {
                    b'c' => self.rows.truncate(1),
                    b'E' => {
                        self.feed(false);
                        self.column = 0;
                    }
                    b'D' => self.feed(false),
                    b'M' => self.row = self.row.saturating_sub(1),
                    _ => {}
                }
                self.row = self.row.min(self.rows.len() - 1);
            }
        }
        Vec::new()
    }

    /// Carries out a control sequence.
    fn sequence(&mut self, inside: &str, kind: u8) {
        self.obeyed.insert(format!("CSI {}", kind as char));
        let numbers: Vec<usize> = inside.split(';').filter_map(|text| text.parse().ok()).collect();
        let number = numbers.first().copied();
        let count = number.unwrap_or(1).max(1);
        let top = self.rows.len().saturating_sub(self.height);
        match kind {
            b'A' => self.row = self.row.saturating_sub(count).max(top),
            b'B' => self.row = (self.row + count).min(self.rows.len() - 1),
            b'C' => self.column = (self.column + count).min(self.columns - 1),
            b'D' => self.column = self.column.saturating_sub(count),
            b'G' => self.column = (count - 1).min(self.columns - 1),
            b'H' | b'f' => {
                self.row = (top + count - 1).min(self.rows.len() - 1);
                let column = numbers.get(1).copied().unwrap_or(1).max(1);
                self.column = (column - 1).min(self.columns - 1);
            }
            b'J' => {
                let from = if number.unwrap_or(0) == 0 { self.row + 1 } else { top };
                if number.unwrap_or(0) == 0 {
                    self.rows[self.row].cells.truncate(self.column);
                    self.rows[self.row].goes_on = false;
                }
                self.rows[from..].iter_mut().for_each(|row| *row = Row::default());
            }
            b'K' => match number.unwrap_or(0) {
                0 => self.rows[self.row].cells.truncate(self.column),
                _ => self.rows[self.row].cells.clear(),
            },
            b'm' => match inside {
                "" | "0" => self.style.clear(),
                more if self.style.is_empty() => self.style = more.to_owned(),
                more => self.style.extend([";", more]),
            },
            _ => {}
        }
    }
}

/// The rows between rules as long as the window is wide.
impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "-".repeat(self.columns);
        writeln!(f, "+{rule}+")?;
        for row in self.rows() {
            let width: usize = row.chars().map(|c| c.width().unwrap_or(0)).sum();
            writeln!(f, "|{row}{}|", " ".repeat(self.columns.saturating_sub(width)))?;
        }
        writeln!(f, "+{rule}+")
    }
}
