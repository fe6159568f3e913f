//! Coloured lines as spans with classes. The page forbids style attributes, so colors that have no name get rules at its end.

use std::{collections::BTreeSet, fmt::Write};

use maud::{Markup, PreEscaped, html};

use super::escape;
use crate::{
    export::{
        ansi::{Screen, Span},
        sgr::{Color, SgrState},
        summary,
    },
    model::{Stream, UnixMs},
};

/// So many colors are kept exactly; one beyond them becomes the nearest of 4096.
const MAX_EXACT_COLORS: usize = 4096;
/// The background of programs' output.
const PANEL_COLOR: (u8, u8, u8) = (0x11, 0x16, 0x1d);
/// The contrast that text needs so that everybody can read it (WCAG 2, AA).
const MIN_CONTRAST: f64 = 4.5;

/// A block of a log is closed at so many lines or bytes, or after so many milliseconds.
const MAX_BLOCK_LINES: usize = 200;
const MAX_BLOCK_BYTES: usize = 32 << 10;
const MAX_BLOCK_MS: u64 = 1000;

/// Colors that the page has used so far: on text, and behind it.
#[derive(Default)]
pub(crate) struct Colors {
    fg: BTreeSet<(u8, u8, u8)>,
    bg: BTreeSet<(u8, u8, u8)>,
}

impl Colors {
    /// The rules for them.
    pub(crate) fn rules(&self) -> String {
        let mut rules = String::new();
        for rgb in &self.fg {
            let (r, g, b) = readable(*rgb);
            writeln!(rules, ".f{}{{color:#{r:02x}{g:02x}{b:02x}}}", name(*rgb)).expect("a string takes everything");
        }
        for rgb in &self.bg {
            let text = if contrast(*rgb, PANEL_COLOR) > contrast(*rgb, (255, 255, 255)) { "#11161d" } else { "#fff" };
            let name = name(*rgb);
            // A color of the text's own, if any, counts more.
            writeln!(rules, ".g{name}{{background:#{name}}}:where(.g{name}){{color:{text}}}").expect("a string takes everything");
        }
        rules
    }

    fn class(&mut self, color: Color, is_behind: bool) -> Option<String> {
        let letter = if is_behind { 'g' } else { 'f' };
        match color {
            Color::Own => None,
            Color::Named(n) => Some(format!("{letter}{n}")),
            Color::Rgb(r, g, b) => {
                let used = if is_behind { &mut self.bg } else { &mut self.fg };
                let rgb = if used.len() < MAX_EXACT_COLORS || used.contains(&(r, g, b)) {
                    (r, g, b)
                } else {
                    let near = |n: u8| (n >> 4) * 17;
                    (near(r), near(g), near(b))
                };
                used.insert(rgb);
                Some(format!("{letter}{}", name(rgb)))
            }
        }
    }

    /// Appends the spans of a line.
    pub(crate) fn line(&mut self, out: &mut String, spans: &[Span]) {
        let mut is_stderr = false;
        for span in spans {
            // One mark for all that stands together, whatever its colors.
            match (is_stderr, span.style.stderr) {
                (false, true) => out.push_str("<span class=\"e\">"),
                (true, false) => out.push_str("</span>"),
                _ => {}
            }
            is_stderr = span.style.stderr;
            let classes = self.classes(span.style);
            if classes.is_empty() {
                escape::push(out, &span.text);
                continue;
            }
            write!(out, "<span class=\"{}\">", classes.join(" ")).expect("a string takes everything");
            escape::push(out, &span.text);
            out.push_str("</span>");
        }
        if is_stderr {
            out.push_str("</span>");
        }
    }

    fn classes(&mut self, style: SgrState) -> Vec<String> {
        let (fg, bg) = if style.inverse { (style.bg, style.fg) } else { (style.fg, style.bg) };
        let marks = [
            (style.bold, "x"),
            (style.dim && fg == Color::Own, "m"),
            (style.italic, "i"),
            (style.underline, "u"),
            (style.strike, "s"),
            (style.inverse && bg == Color::Own, "v"),
        ];
        let mut classes: Vec<String> = marks.into_iter().filter(|(is_set, _)| *is_set).map(|(_, class)| class.to_owned()).collect();
        if !(style.inverse && bg == Color::Own) {
            classes.extend(self.class(fg, false));
        }
        classes.extend(self.class(bg, true));
        classes
    }
}

/// A text that holds a terminal's colors.
pub(crate) fn colored(text: &str, colors: &mut Colors) -> PreEscaped<String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut screen = Screen::default();
    let mut take = |spans: &[Span], ended: bool| {
        colors.line(&mut out, spans);
        if ended {
            out.push('\n');
        }
    };
    screen.feed(Stream::Stdout, text.as_bytes(), &mut take);
    screen.finish(&mut take);
    PreEscaped(out)
}

fn name((r, g, b): (u8, u8, u8)) -> String {
    format!("{r:02x}{g:02x}{b:02x}")
}

/// The color, html lighter until it can be read on the panel.
fn readable(mut rgb: (u8, u8, u8)) -> (u8, u8, u8) {
    let lighter = |n: u8| n.saturating_add(((255 - n) / 8).max(1));
    while contrast(rgb, PANEL_COLOR) < MIN_CONTRAST {
        rgb = (lighter(rgb.0), lighter(rgb.1), lighter(rgb.2));
    }
    rgb
}

/// WCAG 2, "contrast ratio".
fn contrast(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
    let part = |n: u8| {
        let n = f64::from(n) / 255.0;
        if n <= 0.04045 { n / 12.92 } else { ((n + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = |(r, g, b): (u8, u8, u8)| 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The output of a command: blocks of lines, each with its time.
pub(crate) struct OutputLog {
    screen: Screen,
    blocks: BlockWriter,
}

struct BlockWriter {
    began: UnixMs,
    /// HTML that is not written yet.
    out: String,
    /// When the open block began.
    open: Option<UnixMs>,
    lines: usize,
    bytes: usize,
    is_at_start: bool,
    is_empty: bool,
}

impl OutputLog {
    pub(crate) fn new(began: UnixMs) -> Self {
        let blocks = BlockWriter { began, out: String::new(), open: None, lines: 0, bytes: 0, is_at_start: true, is_empty: true };
        Self { screen: Screen::default(), blocks }
    }

    /// Takes output of the program, and returns HTML to write.
    pub(crate) fn feed(&mut self, stream: Stream, at: UnixMs, raw: &[u8], colors: &mut Colors) -> String {
        let blocks = &mut self.blocks;
        self.screen.feed(stream, raw, &mut |spans, ended| blocks.line(spans, ended, at, colors));
        std::mem::take(&mut blocks.out)
    }

    pub(crate) fn finish(&mut self, at: UnixMs, colors: &mut Colors) -> String {
        let blocks = &mut self.blocks;
        self.screen.finish(&mut |spans, ended| blocks.line(spans, ended, at, colors));
        blocks.close();
        std::mem::take(&mut blocks.out)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty
    }
}

impl BlockWriter {
    fn line(&mut self, spans: &[Span], ended: bool, at: UnixMs, colors: &mut Colors) {
        let is_over = self.lines >= MAX_BLOCK_LINES
            || self.bytes >= MAX_BLOCK_BYTES
            || self.open.is_some_and(|since| self.is_at_start && at.saturating_sub(since) >= MAX_BLOCK_MS);
        if is_over {
            self.close();
        }
        if self.open.is_none() {
            let time = time(at, self.began).into_string();
            // The parser drops the first line feed of a block.
            writeln!(self.out, "<div class=\"b\">{time}<pre data-t>").expect("a string takes everything");
            (self.open, self.lines, self.bytes) = (Some(at), 0, 0);
        }
        self.is_empty = false;
        self.bytes += spans.iter().map(|span| span.text.len()).sum::<usize>();
        colors.line(&mut self.out, spans);
        self.is_at_start = ended;
        if ended {
            self.out.push('\n');
            self.lines += 1;
        }
    }

    fn close(&mut self) {
        if self.open.take().is_some() {
            self.out.push_str("</pre></div>\n");
        }
    }
}

/// When something was: since the run began, and the date.
pub(crate) fn time(at: UnixMs, began: UnixMs) -> Markup {
    let after = summary::duration(at.saturating_sub(began));
    html! { time datetime=(summary::iso(at)) title=(summary::date(at)) { "+" (after) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_become_classes_and_rules() {
        let mut colors = Colors::default();
        let PreEscaped(html) = colored("\x1b[1;31ma\x1b[0m<b>\x1b[38;5;208mc\x1b[48;2;0;0;1md\x1b[7me\x1b[0m\n", &mut colors);
        let expected = "<span class=\"x f1\">a</span>&lt;b&gt;<span class=\"fff8700\">c</span>\
                        <span class=\"fff8700 g000001\">d</span><span class=\"f000001 gff8700\">e</span>\n";
        assert_eq!(html, expected);
        assert!(colors.rules().contains(".fff8700{color:#ff8700}\n") && colors.rules().contains(".g000001{background:#000001}"));
    }

    #[test]
    fn every_color_of_text_can_be_read() {
        for rgb in [(0, 0, 0), (0, 0, 255), (128, 0, 0), (95, 0, 135), (255, 255, 255)] {
            assert!(contrast(readable(rgb), PANEL_COLOR) >= MIN_CONTRAST, "{rgb:?}");
        }
        assert_eq!(readable((255, 135, 0)), (255, 135, 0), "one that can be read stays");
        assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
    }

    #[test]
    fn the_named_colors_can_be_read_on_what_is_behind_them() {
        let css = include_str!("page.css");
        let value = |class: &str, property: &str| {
            let rule = css.split(&format!(".{class}{{")).nth(1).expect(class).split('}').next().expect("a rule");
            let hex = rule.split(&format!("{property}:#")).nth(1).expect(property).split([';', '}']).next().expect("a color");
            let hex = if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
            let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            (part(0), part(2), part(4))
        };
        for n in 0..16 {
            assert!(contrast(value(&format!("f{n}"), "color"), PANEL_COLOR) >= MIN_CONTRAST, "f{n}");
            let on = if n == 7 || n == 15 { value(&format!("g{n}"), "color") } else { (0xd5, 0xdc, 0xe4) };
            assert!(contrast(on, value(&format!("g{n}"), "background")) >= MIN_CONTRAST, "g{n}");
        }
    }

    #[test]
    fn a_page_with_all_colors_stays_bounded() {
        let mut colors = Colors::default();
        for n in 0..20_000_u32 {
            let [_, r, g, b] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            colors.class(Color::Rgb(r, g, b), false);
        }
        assert!(colors.fg.len() <= 2 * MAX_EXACT_COLORS);
    }

    #[test]
    fn a_block_is_short_and_has_its_time() {
        let mut colors = Colors::default();
        let mut log = OutputLog::new(1000);
        let lines: String = (0..MAX_BLOCK_LINES + 1).map(|n| format!("{n}\n")).collect();
        let mut html = log.feed(Stream::Stdout, 1500, lines.as_bytes(), &mut colors);
        html += &log.feed(Stream::Stdout, 1600, b"same\n", &mut colors);
        html += &log.feed(Stream::Stderr, 3000, b"later", &mut colors);
        html += &log.finish(3000, &mut colors);
        assert_eq!(html.matches("<div class=\"b\">").count(), 3);
        assert!(
            html.contains("+500 ms</time>") && html.contains("+2.0 s</time><pre data-t>\n<span class=\"e\">later</span></pre>"),
            "{html}"
        );
    }
}
