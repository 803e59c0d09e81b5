//! Tells the rig what it is made of, but for the scenarios: what has passed by the same rig counts though another scenario was mended.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for directory in ["src", "guest"] {
        println!("cargo:rerun-if-changed={directory}");
        collect(Path::new(directory), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        (&file, fs::read(&file)?).hash(&mut hasher);
    }
    // It changes with the libraries that it is made of, too.
    fs::read("../Cargo.lock")?.hash(&mut hasher);
    println!("cargo:rerun-if-changed=../Cargo.lock");
    println!("cargo:rustc-env=RIG={:016x}", hasher.finish());
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
