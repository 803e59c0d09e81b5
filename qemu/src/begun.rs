//! What a bench or a run of scenarios had when it was interrupted: the next time it goes on from there. Once it is through, that goes.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::Outcome;

/// What there is so far, a file each, in a directory beside where all of it goes.
#[derive(Debug)]
pub struct Begun(PathBuf);

/// What says by which programs.
const PROGRAMS: &str = "programs";

impl Begun {
    /// Of what goes to `output`. What comes of other programs than those in `dist` and this one is not kept.
    pub fn new(output: &Path, dist: &Path) -> Outcome<Self> {
        let own = fs::read(std::env::current_exe()?)?;
        Self::by(output, programs(dist, &own, None)?)
    }

    /// The same for scenarios, which are in the rig's own program: of that counts what else it is made of.
    pub(crate) fn of_scenarios(output: &Path, dist: &Path) -> Outcome<Self> {
        Self::by(output, programs(dist, env!("RIG").as_bytes(), Some("nextroot-qemu"))?)
    }

    fn by(output: &Path, programs: String) -> Outcome<Self> {
        let begun = Self(output.with_extension("begun"));
        if fs::read_to_string(begun.0.join(PROGRAMS)).ok().as_ref() != Some(&programs) {
            begun.end()?;
            fs::create_dir_all(&begun.0)?;
            fs::write(begun.0.join(PROGRAMS), programs)?;
        }
        Ok(begun)
    }

    /// What there is by this name, or is measured now.
    pub fn get<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        measure: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        if let Some(kept) = self.find(name)? {
            return Ok(kept);
        }
        let measured = measure()?;
        self.keep(name, &measured)?;
        Ok(measured)
    }

    /// What there is by this name.
    pub fn find<T: DeserializeOwned>(&self, name: &str) -> Outcome<Option<T>> {
        let file = self.file(name);
        match fs::read(&file) {
            Ok(text) => {
                let kept = serde_json::from_slice(&text).map(Some);
                kept.map_err(|error| format!("read {}: {error}; remove it", file.display()).into())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("read {}: {error}", file.display()).into()),
        }
    }

    /// Keeps something by this name.
    pub fn keep<T: Serialize>(&self, name: &str, value: &T) -> Outcome<()> {
        let file = self.file(name);
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_vec(value)?)?;
        Ok(fs::rename(&new, &file)?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }

    /// All of it is there, and written elsewhere.
    pub fn end(&self) -> Outcome<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// What tells these programs from others.
fn programs(dist: &Path, own: &[u8], but: Option<&str>) -> Outcome<String> {
    let mut hasher = DefaultHasher::new();
    own.hash(&mut hasher);
    let mut names: Vec<PathBuf> =
        fs::read_dir(dist)?.map(|entry| Ok(entry?.path())).collect::<Outcome<_>>()?;
    names.sort();
    let is_other = |path: &PathBuf| path.is_file() && path.file_name().and_then(|name| name.to_str()) != but;
    for path in names.into_iter().filter(is_other) {
        fs::read(path)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_not_measured_again() {
        let directory = tempfile::tempdir().unwrap();
        let (dist, output) = (directory.path().join("dist"), directory.path().join("figures.json"));
        fs::create_dir(&dist).unwrap();
        fs::write(dist.join("nextroot"), "one").unwrap();
        let begun = || Begun::new(&output, &dist).unwrap();
        let fails = || Outcome::<u64>::Err("not again".into());
        assert_eq!(begun().get("a-1", || Ok(1)).unwrap(), 1);
        assert_eq!(begun().get("a-1", fails).unwrap(), 1);
        assert!(begun().get("a-2", fails).is_err());
        // What failed was not measured.
        assert_eq!(begun().get("a-2", || Ok(2)).unwrap(), 2);
        // Another program: nothing of it counts.
        fs::write(dist.join("nextroot"), "two").unwrap();
        assert_eq!(begun().get("a-1", || Ok(3)).unwrap(), 3);
        begun().end().unwrap();
        assert_eq!(begun().get("a-1", || Ok(4)).unwrap(), 4);
    }

    #[test]
    fn a_mended_scenario_threw_away_what_the_others_had_taken_hours_for() {
        let directory = tempfile::tempdir().unwrap();
        let (dist, output) = (directory.path().join("dist"), directory.path().join("results.json"));
        fs::create_dir(&dist).unwrap();
        let begun = || Begun::of_scenarios(&output, &dist).unwrap();
        fs::write(dist.join("nextroot"), "one").unwrap();
        begun().keep("a", &1).unwrap();
        fs::write(dist.join("nextroot-qemu"), "with another scenario").unwrap();
        assert_eq!(begun().find::<u64>("a").unwrap(), Some(1));
        fs::write(dist.join("nextroot"), "two").unwrap();
        assert_eq!(begun().find::<u64>("a").unwrap(), None);
    }
}
