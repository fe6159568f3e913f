//! How text looks, and the sequences that say so.

use anstyle_parse::Params;

/// A colour that the program chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Colour {
    /// The page's own.
    #[default]
    Own,
    /// One of the 16 of every terminal.
    Named(u8),
    Rgb(u8, u8, u8),
}

/// How text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pen {
    pub fg: Colour,
    pub bg: Colour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub strike: bool,
    pub inverse: bool,
    pub stderr: bool,
}

/// SGR, ECMA-48 8.3.117, with the colours of ITU T.416 in both spellings.
pub fn paint(pen: &mut Pen, params: &Params) {
    let stderr = pen.stderr;
    let mut params = params.iter();
    while let Some(param) = params.next() {
        match param.first().copied().unwrap_or(0) {
            0 => *pen = Pen { stderr, ..Pen::default() },
            1 => pen.bold = true,
            2 => pen.dim = true,
            3 => pen.italic = true,
            4 => pen.underline = param.get(1) != Some(&0),
            21 => pen.underline = true,
            7 => pen.inverse = true,
            9 => pen.strike = true,
            22 => (pen.bold, pen.dim) = (false, false),
            23 => pen.italic = false,
            24 => pen.underline = false,
            27 => pen.inverse = false,
            29 => pen.strike = false,
            n @ 30..=37 => pen.fg = Colour::Named((n - 30) as u8),
            n @ 90..=97 => pen.fg = Colour::Named((n - 90 + 8) as u8),
            n @ 40..=47 => pen.bg = Colour::Named((n - 40) as u8),
            n @ 100..=107 => pen.bg = Colour::Named((n - 100 + 8) as u8),
            39 => pen.fg = Colour::Own,
            49 => pen.bg = Colour::Own,
            n @ (38 | 48) => {
                let rest: Vec<u16> = if param.len() > 1 {
                    param[1..].to_vec()
                } else {
                    let mut next = || params.next().and_then(|param| param.first()).copied();
                    let kind = next();
                    let count = if kind == Some(2) { 3 } else { 1 };
                    kind.into_iter().chain((0..count).map_while(|_| next())).collect()
                };
                if let Some(colour) = colour(&rest) {
                    *(if n == 38 { &mut pen.fg } else { &mut pen.bg }) = colour;
                }
            }
            _ => {}
        }
    }
}

fn colour(rest: &[u16]) -> Option<Colour> {
    let byte = |n: u16| n.min(255) as u8;
    match *rest {
        [5, n, ..] => Some(indexed(byte(n))),
        // With the colour space that nobody gives.
        [2, _, r, g, b, ..] | [2, r, g, b] => Some(Colour::Rgb(byte(r), byte(g), byte(b))),
        _ => None,
    }
}

/// One of the 256: 16 names, a cube of 6, 24 greys.
fn indexed(n: u8) -> Colour {
    match n {
        0..16 => Colour::Named(n),
        16..232 => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = n - 16;
            Colour::Rgb(level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        232.. => {
            let grey = 8 + 10 * (n - 232);
            Colour::Rgb(grey, grey, grey)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::ansi::{Screen, Span},
        model::Stream,
    };

    fn pen_of(sequence: &str) -> Pen {
        let mut pens = Vec::new();
        let mut screen = Screen::default();
        let mut take = |spans: &[Span], _| pens.extend(spans.iter().map(|span| span.pen));
        screen.feed(Stream::Stdout, format!("\x1b[{sequence}mx").as_bytes(), &mut take);
        screen.finish(&mut take);
        pens[0]
    }

    #[test]
    fn colours_in_all_their_spellings() {
        assert_eq!(pen_of("1;31"), Pen { bold: true, fg: Colour::Named(1), ..Pen::default() });
        assert_eq!(pen_of("97;104"), Pen { fg: Colour::Named(15), bg: Colour::Named(12), ..Pen::default() });
        for rgb in ["38;2;1;2;3", "38:2:1:2:3", "38:2::1:2:3"] {
            assert_eq!(pen_of(rgb).fg, Colour::Rgb(1, 2, 3), "{rgb}");
        }
        for indexed in ["48;5;208", "48:5:208"] {
            assert_eq!(pen_of(indexed).bg, Colour::Rgb(255, 135, 0), "{indexed}");
        }
        assert_eq!(pen_of("38;5;9;1"), Pen { fg: Colour::Named(9), bold: true, ..Pen::default() });
        assert_eq!(pen_of("1;3;4;7;9;0"), Pen::default());
        assert_eq!(pen_of("38;5").fg, Colour::Own);
    }
}
