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

/// Those of all that are asked for by their names, or all. A name that none has is an error.
pub(crate) fn chosen<'a, T>(
    all: &'a [T],
    names: &[String],
    name: fn(&T) -> &'static str,
) -> Outcome<Vec<&'a T>> {
    if let Some(unknown) = names.iter().find(|asked| !all.iter().any(|one| name(one) == *asked)) {
        let known: Vec<&str> = all.iter().map(name).collect();
        return Err(format!("nothing is called {unknown}; there are {}", known.join(", ")).into());
    }
    Ok(all.iter().filter(|one| names.is_empty() || names.iter().any(|asked| asked == name(one))).collect())
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
    fn what_is_asked_for_has_to_be_there() {
        let all = ["one", "two"];
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&all, &names, |one| one).map(|chosen| chosen.len()).map_err(|error| error.to_string())
        };
        assert_eq!((names(&[]), names(&["two"])), (Ok(2), Ok(1)));
        assert_eq!(names(&["two", "tow"]), Err("nothing is called tow; there are one, two".to_owned()));
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
