//! A line that is not of the notation stops the build, and says where.

use super::notation::parse;

fn error(text: &str) -> String {
    parse(text).map(|messages| format!("{messages:?}")).unwrap_err().to_string()
}

#[test]
fn what_is_not_of_the_notation_is_refused_with_its_line() {
    let field = |line: &str| error(&format!("data Sample 1-3 flexible 2+ {{\n    {line}\n}}\n"));
    assert_eq!(error("message Sample 0 {\n}\n"), "line 1: not the head of a message");
    assert_eq!(error("data Sample 3-1 {\n}\n"), "line 1: not the head of a message");
    assert_eq!(error("data Sample 0 {\n"), "line 1: Sample is not closed");
    assert_eq!(field("Name"), "line 2: a field has a name and a type");
    assert_eq!(field("Name text"), "line 2: text is no type");
    assert_eq!(field("Name string 0+"), "line 2: versions outside of what encloses them");
    assert_eq!(field("Name string 2+ optional"), "line 2: optional means nothing here");
    assert_eq!(field("Name string?0 2+"), "line 2: bad nullable versions");
    assert_eq!(field("Name string {"), "line 2: only a structure has fields");
    assert_eq!(field("Inner Inner?3"), "line 2: a structure is nullable in all versions or in none");
    assert_eq!(field("Name string 1+ #0"), "line 2: a field is tagged in flexible versions only");
    assert_eq!(field("Batch records 2+ #0"), "line 2: records are never tagged");
    assert_eq!(field("A Sample {"), "line 2: Sample is described twice");
}
