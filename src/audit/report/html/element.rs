//! HTML that cannot be broken out of: every text and every attribute's value is made printable and escaped on its way in.

use crate::sip::printable;

#[derive(Clone)]
/// One element with what is in it.
pub(super) struct Element {
    name: &'static str,
    attributes: String,
    inside: String,
}

impl Element {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: String::new(), inside: String::new() }
    }

    pub(super) fn class(self, class: &'static str) -> Self {
        self.with("class", class)
    }

    /// With this attribute.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.attributes.push_str(&format!(" {name}=\"{}\"", escaped(value)));
        self
    }

    /// With this text at the end.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.inside.push_str(&escaped(text));
        self
    }

    /// With this host name, which is broken after a dot if it has to be.
    pub(super) fn host(mut self, name: &str) -> Self {
        for (place, label) in name.split_inclusive('.').enumerate() {
            self.inside.push_str(if place > 0 { "<wbr>" } else { "" });
            self.inside.push_str(&escaped(label));
        }
        self
    }

    /// With the end of a line, which counts within `pre`.
    pub(super) fn end_line(mut self) -> Self {
        self.inside.push('\n');
        self
    }

    /// With this element at the end.
    pub(super) fn add(mut self, element: impl Into<Option<Element>>) -> Self {
        if let Some(element) = element.into() {
            self.inside.push_str(&element.html());
        }
        self
    }

    /// With these elements at the end.
    pub(super) fn all(self, elements: impl IntoIterator<Item = Element>) -> Self {
        elements.into_iter().fold(self, Element::add)
    }

    pub(super) fn html(&self) -> String {
        let (name, attributes, inside) = (self.name, &self.attributes, &self.inside);
        format!("<{name}{attributes}>{inside}</{name}>")
    }
}

/// A list; none without entries.
pub(super) fn list(class: &'static str, entries: impl IntoIterator<Item = Element>) -> Option<Element> {
    let mut entries = entries.into_iter().peekable();
    entries.peek()?;
    Some(Element::new("ul").class(class).all(entries))
}

/// A sign that no screen reader needs, because the word follows.
pub(super) fn sign(sign: &'static str) -> Element {
    Element::new("span").class("sign").with("aria-hidden", "true").text(sign)
}

/// Text that is text wherever it stands, in an element or in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
