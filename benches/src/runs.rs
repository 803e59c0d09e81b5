//! Runs of whole processes.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use nix::sys::resource::{UsageWho, getrusage};

use crate::Outcome;

/// Runs a command line, its words apart; what it printed, and the seconds that it took. One that fails is an error.
pub(crate) fn timed(words: &[String]) -> Outcome<(String, f64)> {
    let (program, arguments) = words.split_first().ok_or("nothing to run")?;
    let begun = Instant::now();
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let seconds = begun.elapsed().as_secs_f64();
    let output = output.map_err(|error| format!("start {program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed ({}): {said}", words.join(" "), output.status).into());
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), seconds))
}

/// Those of all that are asked for by their names, or all.
pub(crate) fn chosen<'a, T>(
    all: &'a [T],
    names: &[String],
    name: fn(&T) -> &'static str,
) -> impl Iterator<Item = &'a T> {
    all.iter().filter(move |one| names.is_empty() || names.iter().any(|asked| asked == name(one)))
}

/// The one in the middle of an odd number, or the lower of two.
pub(crate) fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The most memory that any process run so far has had at once, in bytes (getrusage(2), `ru_maxrss`).
pub(crate) fn peak_memory() -> Outcome<u64> {
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (seconds, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[1.0], 1.0), (&[4.0, 1.0, 3.0, 2.0], 2.0)]
        {
            assert!((median(seconds) - expected).abs() < f64::EPSILON, "{seconds:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn what_fails_is_no_figure() {
        assert!(timed(&["false".to_owned()]).is_err());
        assert!(timed(&["/nonexistent".to_owned()]).is_err());
        assert_eq!(
            timed(&["echo".to_owned(), "said".to_owned()]).map(|(text, _)| text).ok().as_deref(),
            Some("said\n")
        );
    }
}
