//! Coloured lines as spans with classes. The page forbids style attributes, so colours that have no name get rules at its end.

use std::{collections::BTreeSet, fmt::Write};

use super::escape;
use crate::{
    export::{
        ansi::{Screen, Span},
        facts,
        pen::{Colour, Pen},
    },
    model::{Stream, UnixMs},
};

/// So many colours are told apart; those beyond are the nearest of 4096.
const DISTINCT: usize = 4096;
/// The colour behind programs' output.
const PANEL: (u8, u8, u8) = (0x11, 0x16, 0x1d);
/// What text needs to be read by everybody (WCAG 2, AA).
const CONTRAST: f64 = 4.5;

/// A block of a log has at most so many lines and bytes, and spans at most so many milliseconds.
const BLOCK_LINES: usize = 200;
const BLOCK_BYTES: usize = 32 << 10;
const BLOCK_MS: u64 = 1000;

/// Colours that the page has used so far: on text, and behind it.
#[derive(Default)]
pub struct Colours {
    fg: BTreeSet<(u8, u8, u8)>,
    bg: BTreeSet<(u8, u8, u8)>,
}

impl Colours {
    /// The rules for them.
    pub fn rules(&self) -> String {
        let mut rules = String::new();
        for rgb in &self.fg {
            let (r, g, b) = readable(*rgb);
            writeln!(rules, ".f{}{{color:#{r:02x}{g:02x}{b:02x}}}", name(*rgb)).expect("a string takes everything");
        }
        for rgb in &self.bg {
            let text = if contrast(*rgb, PANEL) > contrast(*rgb, (255, 255, 255)) { "#11161d" } else { "#fff" };
            let name = name(*rgb);
            // A colour of the text's own, if any, counts more.
            writeln!(rules, ".g{name}{{background:#{name}}}:where(.g{name}){{color:{text}}}").expect("a string takes everything");
        }
        rules
    }

    fn class(&mut self, colour: Colour, is_behind: bool) -> Option<String> {
        let letter = if is_behind { 'g' } else { 'f' };
        match colour {
            Colour::Own => None,
            Colour::Named(n) => Some(format!("{letter}{n}")),
            Colour::Rgb(r, g, b) => {
                let used = if is_behind { &mut self.bg } else { &mut self.fg };
                let rgb = if used.len() < DISTINCT || used.contains(&(r, g, b)) {
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
    pub fn line(&mut self, out: &mut String, spans: &[Span]) {
        let mut is_stderr = false;
        for span in spans {
            // One mark for all that stands together, whatever its colours.
            match (is_stderr, span.pen.stderr) {
                (false, true) => out.push_str("<span class=\"e\">"),
                (true, false) => out.push_str("</span>"),
                _ => {}
            }
            is_stderr = span.pen.stderr;
            let classes = self.classes(span.pen);
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

    fn classes(&mut self, pen: Pen) -> Vec<String> {
        let (fg, bg) = if pen.inverse { (pen.bg, pen.fg) } else { (pen.fg, pen.bg) };
        let marks = [
            (pen.bold, "x"),
            (pen.dim && fg == Colour::Own, "m"),
            (pen.italic, "i"),
            (pen.underline, "u"),
            (pen.strike, "s"),
            (pen.inverse && bg == Colour::Own, "v"),
        ];
        let mut classes: Vec<String> = marks.into_iter().filter(|(is_set, _)| *is_set).map(|(_, class)| class.to_owned()).collect();
        if !(pen.inverse && bg == Colour::Own) {
            classes.extend(self.class(fg, false));
        }
        classes.extend(self.class(bg, true));
        classes
    }
}

/// A text that holds a terminal's colours.
pub fn coloured(text: &str, colours: &mut Colours) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut screen = Screen::default();
    let mut take = |spans: &[Span], ended: bool| {
        colours.line(&mut out, spans);
        if ended {
            out.push('\n');
        }
    };
    screen.feed(Stream::Stdout, text.as_bytes(), &mut take);
    screen.finish(&mut take);
    out
}

fn name((r, g, b): (u8, u8, u8)) -> String {
    format!("{r:02x}{g:02x}{b:02x}")
}

/// The colour, made lighter until it can be read on the panel.
fn readable(mut rgb: (u8, u8, u8)) -> (u8, u8, u8) {
    let lighter = |n: u8| n.saturating_add(((255 - n) / 8).max(1));
    while contrast(rgb, PANEL) < CONTRAST {
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
pub struct Log {
    screen: Screen,
    blocks: Blocks,
}

struct Blocks {
    began: UnixMs,
    /// What was made and not yet written.
    out: String,
    /// When the open block began.
    open: Option<UnixMs>,
    lines: usize,
    bytes: usize,
    is_at_start: bool,
    is_empty: bool,
}

impl Log {
    pub fn new(began: UnixMs) -> Self {
        let blocks = Blocks { began, out: String::new(), open: None, lines: 0, bytes: 0, is_at_start: true, is_empty: true };
        Self { screen: Screen::default(), blocks }
    }

    /// Takes what was written, and gives what is to be written.
    pub fn feed(&mut self, stream: Stream, at: UnixMs, raw: &[u8], colours: &mut Colours) -> String {
        let blocks = &mut self.blocks;
        self.screen.feed(stream, raw, &mut |spans, ended| blocks.line(spans, ended, at, colours));
        std::mem::take(&mut blocks.out)
    }

    pub fn finish(&mut self, at: UnixMs, colours: &mut Colours) -> String {
        let blocks = &mut self.blocks;
        self.screen.finish(&mut |spans, ended| blocks.line(spans, ended, at, colours));
        blocks.close();
        std::mem::take(&mut blocks.out)
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty
    }
}

impl Blocks {
    fn line(&mut self, spans: &[Span], ended: bool, at: UnixMs, colours: &mut Colours) {
        let is_over = self.lines >= BLOCK_LINES
            || self.bytes >= BLOCK_BYTES
            || self.open.is_some_and(|since| self.is_at_start && at.saturating_sub(since) >= BLOCK_MS);
        if is_over {
            self.close();
        }
        if self.open.is_none() {
            let time = time(at, self.began);
            // The parser drops the first line feed of a block.
            writeln!(self.out, "<div class=\"b\">{time}<pre data-t>").expect("a string takes everything");
            (self.open, self.lines, self.bytes) = (Some(at), 0, 0);
        }
        self.is_empty = false;
        self.bytes += spans.iter().map(|span| span.text.len()).sum::<usize>();
        colours.line(&mut self.out, spans);
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
pub fn time(at: UnixMs, began: UnixMs) -> String {
    let after = facts::duration(at.saturating_sub(began));
    format!("<time datetime=\"{}\" title=\"{}\">+{after}</time>", facts::iso(at), facts::date(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_rules() {
        let mut colours = Colours::default();
        let made = coloured("\x1b[1;31ma\x1b[0m<b>\x1b[38;5;208mc\x1b[48;2;0;0;1md\x1b[7me\x1b[0m\n", &mut colours);
        let expected = "<span class=\"x f1\">a</span>&lt;b&gt;<span class=\"fff8700\">c</span>\
                        <span class=\"fff8700 g000001\">d</span><span class=\"f000001 gff8700\">e</span>\n";
        assert_eq!(made, expected);
        assert!(colours.rules().contains(".fff8700{color:#ff8700}\n") && colours.rules().contains(".g000001{background:#000001}"));
    }

    #[test]
    fn every_colour_of_text_can_be_read() {
        for rgb in [(0, 0, 0), (0, 0, 255), (128, 0, 0), (95, 0, 135), (255, 255, 255)] {
            assert!(contrast(readable(rgb), PANEL) >= CONTRAST, "{rgb:?}");
        }
        assert_eq!(readable((255, 135, 0)), (255, 135, 0), "one that can be read stays");
        assert!((contrast((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
    }

    #[test]
    fn the_named_colours_can_be_read_on_what_is_behind_them() {
        let css = include_str!("page.css");
        let value = |class: &str, property: &str| {
            let rule = css.split(&format!(".{class}{{")).nth(1).expect(class).split('}').next().expect("a rule");
            let hex = rule.split(&format!("{property}:#")).nth(1).expect(property).split([';', '}']).next().expect("a colour");
            let hex = if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
            let part = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            (part(0), part(2), part(4))
        };
        for n in 0..16 {
            assert!(contrast(value(&format!("f{n}"), "color"), PANEL) >= CONTRAST, "f{n}");
            let on = if n == 7 || n == 15 { value(&format!("g{n}"), "color") } else { (0xd5, 0xdc, 0xe4) };
            assert!(contrast(on, value(&format!("g{n}"), "background")) >= CONTRAST, "g{n}");
        }
    }

    #[test]
    fn a_page_with_all_colours_stays_bounded() {
        let mut colours = Colours::default();
        for n in 0..20_000_u32 {
            let [_, r, g, b] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            colours.class(Colour::Rgb(r, g, b), false);
        }
        assert!(colours.fg.len() <= 2 * DISTINCT);
    }

    #[test]
    fn a_block_is_short_and_has_its_time() {
        let mut colours = Colours::default();
        let mut log = Log::new(1000);
        let lines: String = (0..BLOCK_LINES + 1).map(|n| format!("{n}\n")).collect();
        let mut made = log.feed(Stream::Stdout, 1500, lines.as_bytes(), &mut colours);
        made += &log.feed(Stream::Stdout, 1600, b"same\n", &mut colours);
        made += &log.feed(Stream::Stderr, 3000, b"later", &mut colours);
        made += &log.finish(3000, &mut colours);
        assert_eq!(made.matches("<div class=\"b\">").count(), 3);
        assert!(
            made.contains("+500 ms</time>") && made.contains("+2.0 s</time><pre data-t>\n<span class=\"e\">later</span></pre>"),
            "{made}"
        );
    }
}
