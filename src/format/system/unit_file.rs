//! Settings in files of systemd (systemd.syntax(7)): units, networks, system.conf.

/// All values that a section assigns to a key, in order. An empty assignment takes back those before it;
/// what is neither a section nor an assignment is passed over, as systemd does after logging it.
#[must_use]
pub fn values<'a>(text: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside)
            && name.trim_end() == key
        {
            match value.trim_start() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
    }
    values
}

/// A boolean as systemd writes them (parse_boolean).
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments() {
        let text = "K=0\n[A]\nK=1\n # K=2\n; K=2\nK = a = b \nnonsense\n[B]\nK=3\nKK=9\n[A]\nK=4\n";
        for (section, key, expected) in
            [("A", "K", &["1", "a = b", "4"][..]), ("B", "K", &["3"]), ("B", "k", &[]), ("C", "K", &[])]
        {
            assert_eq!(values(text, section, key), expected, "[{section}] {key}");
        }
        assert_eq!(values("[A]\nK=1\nK=\nK=2", "A", "K"), ["2"]);
        assert_eq!(values("[A]\nK=1\nK=", "A", "K"), [""; 0]);
    }

    #[test]
    fn booleans() {
        for (text, expected) in
            [("yes", Some(true)), ("On", Some(true)), ("0", Some(false)), ("exec", None), ("", None)]
        {
            assert_eq!(boolean(text), expected, "{text}");
        }
    }
}
