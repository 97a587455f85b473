//! The XMP packet around a label, and as much of XML as finding one needs.

/// The namespace of the property.
const NAMESPACE: &str = "http://www.tc260.org.cn/ns/AIGC/1.0/";
/// Properties that one packet is searched for, at most.
const MAX_FOUND: usize = 16;

/// A packet with the one property `TC260:AIGC`, in element form.
pub(in crate::pictures) fn packet(json: &str) -> String {
    let json = escaped(json);
    format!(
        "<?xpacket begin=\"\u{feff}\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n\
         <x:xmpmeta xmlns:x=\"adobe:ns:meta/\">\
         <rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description rdf:about=\"\" xmlns:TC260=\"{NAMESPACE}\">\
         <TC260:AIGC>{json}</TC260:AIGC>\
         </rdf:Description></rdf:RDF></x:xmpmeta>\n<?xpacket end=\"w\"?>"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The values of every such property in a packet, as element or as attribute, under whatever prefix; `None` for one
/// that cannot be read.
pub(super) fn values(packet: &[u8]) -> Vec<Option<String>> {
    let Ok(packet) = std::str::from_utf8(packet) else {
        return vec![None];
    };
    let mut found = Vec::new();
    for prefix in prefixes(packet) {
        let name = format!("{prefix}:AIGC");
        for (at, _) in packet.match_indices(&name).take(MAX_FOUND) {
            let before = packet[..at].chars().next_back();
            let after = &packet[at + name.len()..];
            match before {
                Some('<') => found.push(element(after, &name)),
                Some(c) if c.is_ascii_whitespace() => found.extend(attribute(after).map(unescaped)),
                _ => {} // a closing tag, or part of a longer name
            }
        }
    }
    found
}

/// The prefixes that are bound to the namespace.
fn prefixes(packet: &str) -> Vec<&str> {
    let mut prefixes: Vec<&str> = packet
        .match_indices(NAMESPACE)
        .take(MAX_FOUND)
        .filter_map(|(at, _)| {
            let before = packet[..at].strip_suffix(['"', '\''])?.trim_end().strip_suffix('=')?.trim_end();
            let (_, prefix) = before.rsplit_once("xmlns:")?;
            prefix.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).then_some(prefix)
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn element(after: &str, name: &str) -> Option<String> {
    let (attributes, rest) = after.split_once('>')?;
    if attributes.ends_with('/') {
        return None;
    }
    let (text, _) = rest.split_once(&format!("</{name}"))?;
    unescaped(text)
}

/// The value of an attribute whose name was just read; `None` where it is no attribute.
fn attribute(after: &str) -> Option<&str> {
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split_once(quote).map(|(value, _)| value)
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        let (entity, after) = entity.split_once(';')?;
        plain.push_str(before);
        plain.push(match entity {
            "quot" => '"',
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "apos" => '\'',
            number => character(number)?,
        });
        rest = after;
    }
    plain.push_str(rest);
    (!rest.contains('<')).then_some(plain)
}

fn character(reference: &str) -> Option<char> {
    let number = reference.strip_prefix('#')?;
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}
