//! The style of text, and the escape sequences that set it.

use anstyle_parse::Params;

/// A color that the program chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Color {
    /// The page's own.
    #[default]
    Own,
    /// One of the 16 of every terminal.
    Named(u8),
    Rgb(u8, u8, u8),
}

/// The style of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SgrState {
    pub(crate) fg: Color,
    pub(crate) bg: Color,
    pub(crate) bold: bool,
    pub(crate) dim: bool,
    pub(crate) italic: bool,
    pub(crate) underline: bool,
    pub(crate) strike: bool,
    pub(crate) inverse: bool,
    pub(crate) stderr: bool,
}

/// SGR, ECMA-48 8.3.117, with the colors of ITU T.416 in both spellings.
pub(crate) fn apply_sgr(style: &mut SgrState, params: &Params) {
    let stderr = style.stderr;
    let mut params = params.iter();
    while let Some(param) = params.next() {
        match param.first().copied().unwrap_or(0) {
            0 => *style = SgrState { stderr, ..SgrState::default() },
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = param.get(1) != Some(&0),
            21 => style.underline = true,
            7 => style.inverse = true,
            9 => style.strike = true,
            22 => (style.bold, style.dim) = (false, false),
            23 => style.italic = false,
            24 => style.underline = false,
            27 => style.inverse = false,
            29 => style.strike = false,
            n @ 30..=37 => style.fg = Color::Named((n - 30) as u8),
            n @ 90..=97 => style.fg = Color::Named((n - 90 + 8) as u8),
            n @ 40..=47 => style.bg = Color::Named((n - 40) as u8),
            n @ 100..=107 => style.bg = Color::Named((n - 100 + 8) as u8),
            39 => style.fg = Color::Own,
            49 => style.bg = Color::Own,
            n @ (38 | 48) => {
                let rest: Vec<u16> = if param.len() > 1 {
                    param[1..].to_vec()
                } else {
                    let mut next = || params.next().and_then(|param| param.first()).copied();
                    let kind = next();
                    let count = if kind == Some(2) { 3 } else { 1 };
                    kind.into_iter().chain((0..count).map_while(|_| next())).collect()
                };
                if let Some(color) = color(&rest) {
                    *(if n == 38 { &mut style.fg } else { &mut style.bg }) = color;
                }
            }
            _ => {}
        }
    }
}

fn color(rest: &[u16]) -> Option<Color> {
    let byte = |n: u16| n.min(255) as u8;
    match *rest {
        [5, n, ..] => Some(indexed(byte(n))),
        // With the color space that nobody gives.
        [2, _, r, g, b, ..] | [2, r, g, b] => Some(Color::Rgb(byte(r), byte(g), byte(b))),
        _ => None,
    }
}

/// One of the 256: 16 names, a cube of 6, 24 greys.
fn indexed(n: u8) -> Color {
    match n {
        0..16 => Color::Named(n),
        16..232 => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = n - 16;
            Color::Rgb(level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        232.. => {
            let grey = 8 + 10 * (n - 232);
            Color::Rgb(grey, grey, grey)
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

    fn style_of(sequence: &str) -> SgrState {
        let mut pens = Vec::new();
        let mut screen = Screen::default();
        let mut take = |spans: &[Span], _| pens.extend(spans.iter().map(|span| span.style));
        screen.feed(Stream::Stdout, format!("\x1b[{sequence}mx").as_bytes(), &mut take);
        screen.finish(&mut take);
        pens[0]
    }

    #[test]
    fn colors_in_all_their_spellings() {
        assert_eq!(style_of("1;31"), SgrState { bold: true, fg: Color::Named(1), ..SgrState::default() });
        assert_eq!(style_of("97;104"), SgrState { fg: Color::Named(15), bg: Color::Named(12), ..SgrState::default() });
        for rgb in ["38;2;1;2;3", "38:2:1:2:3", "38:2::1:2:3"] {
            assert_eq!(style_of(rgb).fg, Color::Rgb(1, 2, 3), "{rgb}");
        }
        for indexed in ["48;5;208", "48:5:208"] {
            assert_eq!(style_of(indexed).bg, Color::Rgb(255, 135, 0), "{indexed}");
        }
        assert_eq!(style_of("38;5;9;1"), SgrState { fg: Color::Named(9), bold: true, ..SgrState::default() });
        assert_eq!(style_of("1;3;4;7;9;0"), SgrState::default());
        assert_eq!(style_of("38;5").fg, Color::Own);
    }
}
