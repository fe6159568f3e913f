//! Reads a regular expression by itself, before anything is made of it, and refuses what the search cannot give.

use regex_syntax::{
    ast::{self, Ast, ClassSetItem, Visitor},
    hir::translate::TranslatorBuilder,
};

/// How deep groups may stand in one another.
const NEST_MAX: u32 = 100;
/// Most classes that are tables of Unicode, such as `\w`: each takes some KiB as soon as it is more than read.
const TABLES_MAX: usize = 200;

/// The expression again, without comments and the spaces of `(?x)`, so that it may be put into a group. Fails with a sentence.
pub fn read(query: &str, ignore_case: bool) -> Result<String, String> {
    let ast = ast::parse::ParserBuilder::new().nest_limit(NEST_MAX).build().parse(query).map_err(|error| match error.kind() {
        ast::ErrorKind::EscapeUnexpectedEof => r"`query` ends with a lone `\`; write `\\` to look for one".to_owned(),
        kind => refusal(kind),
    })?;
    ast::visit(&ast, Tables(0)).map_err(|()| too_large())?;
    // As it is compiled in the end.
    let mut translator = TranslatorBuilder::new().utf8(false).case_insensitive(ignore_case).multi_line(true).crlf(true).build();
    let hir = translator.translate(query, &ast).map_err(|error| refusal(error.kind()))?;
    if hir.properties().look_set().contains_anchor_haystack() {
        return Err(
            r"`query` asks for the ends of a text, with `\A`, `\z` or `(?-m)`; the search goes line by line, so use `^` and `$`".to_owned()
        );
    }
    Ok(ast.to_string())
}

/// What cannot be compiled within bounds.
pub fn too_large() -> String {
    r"`query` is too large when it is compiled; let it repeat less, or classes of Unicode such as `\w`, for which `[a-z]` may do".to_owned()
}

/// A sentence for what is no regular expression.
pub fn refusal(reason: &impl ToString) -> String {
    let reason = reason.to_string();
    format!("`query` is not a regular expression: {reason}; mend it, or leave `regex` out to look for the text as it is")
}

/// Counts tables, and fails where there are too many.
struct Tables(usize);

impl Tables {
    fn count(&mut self, is_table: bool) -> Result<(), ()> {
        self.0 += usize::from(is_table);
        if self.0 > TABLES_MAX { Err(()) } else { Ok(()) }
    }
}

impl Visitor for Tables {
    type Output = ();
    type Err = ();

    fn finish(self) -> Result<(), ()> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        self.count(matches!(ast, Ast::ClassUnicode(_) | Ast::ClassPerl(_)))
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), ()> {
        self.count(matches!(item, ClassSetItem::Unicode(_) | ClassSetItem::Perl(_)))
    }
}
