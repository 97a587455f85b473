//! Nesting of a JSON text, measured before any value is built from it.

/// The deepest nesting of objects and lists in a JSON text. Brackets inside strings do not count. For a text that
/// is no JSON the result is merely some number; the reader refuses it afterwards.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn brackets_in_strings_do_not_nest() {
        assert_eq!(depth(r#"{"a": "[[[\"[{", "b": [1, [2]]}"#), 3);
        assert_eq!(depth("7"), 0);
        assert_eq!(depth("]]]{"), 1);
    }
}
