//! What the configuration baked into the initramfs demands, and a kernel command line cannot take back.

use crate::format::{
    config::{image_filter::ImageFilter, image_policy::Designator, ini::Placed, initramfs::Config},
    verity::options::{Corruption, VerityOptions},
};

use super::{
    demands::{Candidate, Demands, Proof},
    intent::{FileSystem, From},
    invalid::Error,
    request::{Given, Request, Source},
    verified::{Names, ROOT, USR},
};

/// Which file systems have to be verified, and by which line of the configuration.
pub(super) struct Policy<'a> {
    file: &'a str,
    root: Option<&'static str>,
    usr: Option<&'static str>,
    /// Whether it names the very root, by its hash or by who signed it, so that no other hash may put something over it.
    pinned: bool,
    /// Whether /usr may be anything: `UsrVerity=allowed`.
    usr_allowed: bool,
}

impl<'a> Policy<'a> {
    pub(super) fn of(config: &'a Config, request: &Request) -> Self {
        let pinned = |hash: Option<&Given>| hash.is_some_and(|hash| hash.source == Source::Policy);
        let root_pinned = pinned(request.roothash.as_ref());
        let root = if config.verity_required {
            Some("Verity=required")
        } else {
            // A hash that only held until somebody wrote systemd.verity=no would be no policy.
            root_pinned.then_some("CommandLine=roothash=")
        };
        let usr = match config.usr_verity_required {
            Some(true) => Some("UsrVerity=required"),
            _ if pinned(request.usrhash.as_ref()) => Some("CommandLine=usrhash="),
            Some(false) => None,
            // Whoever could lay a /usr of his own over a verified root would own it.
            None => root,
        };
        let is_dissect = |root: &Given| root.source == Source::Policy && root.value == "dissect";
        let pinned = root_pinned || request.root.as_ref().is_some_and(is_dissect);
        let usr_allowed = config.usr_verity_required == Some(false);
        Self { file: &config.file, root, usr, pinned, usr_allowed }
    }

    /// Whether verification may be switched off.
    pub(super) fn allows_switch(&self, off: Option<&Given>) -> Result<(), Error> {
        let Some(off) = off else { return Ok(()) };
        let (names, rule) = match (self.root, self.usr) {
            (Some(rule), _) => (&ROOT, rule),
            (None, Some(rule)) => (&USR, rule),
            (None, None) => return Ok(()),
        };
        let what = format!("{}={} asks for an unverified {}", off.name, off.value, which(names));
        Err(self.forbidden(names, rule, what, format!("leave {} out", off.name)))
    }

    /// By which line the root has to be verified, where that is known only once it was found.
    pub(super) fn of_found_root(&self, has_usr: bool) -> Option<String> {
        let rule = self.root.or(self.usr.filter(|_| !has_usr))?;
        Some(format!("{} ({rule})", self.file))
    }

    /// Whether these may be mounted.
    pub(super) fn allows(
        &self,
        request: &Request,
        root: &FileSystem,
        usr: Option<&FileSystem>,
    ) -> Result<(), Error> {
        if let Some(rule) = self.root {
            self.verified(&ROOT, rule, root, request.root_options.as_ref())?;
        }
        match (self.usr, usr) {
            (Some(rule), Some(usr)) => {
                self.verified(&USR, rule, usr, request.usr_options.as_ref())?;
                self.hash_of_usr(rule, request.usrhash.as_ref())
            }
            // Without one of its own, /usr is the root's.
            (Some(rule), None) => self.verified(&USR, rule, root, request.root_options.as_ref()),
            (None, Some(_)) if !self.usr_allowed => {
                self.hash_of_usr("CommandLine=root=dissect", request.usrhash.as_ref())
            }
            (None, _) => Ok(()),
        }
    }

    fn verified(
        &self,
        names: &Names,
        rule: &str,
        fs: &FileSystem,
        options: Option<&Given>,
    ) -> Result<(), Error> {
        // What that is has to be found first; it is held to the same rule then.
        if let From::Dissect(_) = &fs.from {
            return Ok(());
        }
        let From::Verity(verity) = &fs.from else {
            let what = format!("{} is no verified {}", describe(&fs.from), which(names));
            return Err(self.forbidden(names, rule, what, format!("name the image by {}=", names.hash)));
        };
        let Some((given, weakness)) = weakened(&verity.options, options) else { return Ok(()) };
        let Weakness { option, effect } = weakness;
        let what = format!("{}={} {effect}", given.name, given.value);
        Err(self.forbidden(names, rule, what, format!("leave {option} out")))
    }

    fn hash_of_usr(&self, rule: &str, hash: Option<&Given>) -> Result<(), Error> {
        match hash.filter(|hash| self.pinned && hash.source == Source::CommandLine) {
            Some(hash) => {
                let what =
                    format!("{}={} would lie over the root that is named there", hash.name, hash.value);
                let instead = "name it in [Policy] CommandLine=, too".to_owned();
                Err(self.forbidden(&USR, rule, what, instead))
            }
            None => Ok(()),
        }
    }

    fn forbidden(&self, names: &Names, rule: &str, what: String, instead: String) -> Error {
        let file = self.file.to_owned();
        Error::Policy { what, file, which: which(names), rule: rule.to_owned(), instead }
    }
}

/// What is demanded of root and /usr: by the configuration, and by whoever may write the kernel command line, who can
/// only demand more.
pub(super) fn demands(config: &Config, request: &Request) -> Result<Demands, Error> {
    let mut image_policies = Vec::from_iter(config.image_policy.clone());
    for given in &request.image_policies {
        let (parameter, text) = (given.name, given.value.clone());
        let wrong = |source| Error::ImagePolicy { parameter, value: text, source };
        image_policies
            .push(Placed { value: given.value.parse().map_err(wrong)?, place: place(given, config) });
    }
    Ok(Demands { image_policies, minimum_version: config.minimum_version.clone() })
}

/// Which partitions count, by their labels: all filters have to take one.
pub(super) fn filters(config: &Config, request: &Request) -> Result<Vec<Placed<ImageFilter>>, Error> {
    let filter = |given: &Given| {
        let (parameter, text) = (given.name, given.value.clone());
        let wrong = |source| Error::ImageFilter { parameter, value: text, source };
        Ok(Placed { value: given.value.parse().map_err(wrong)?, place: place(given, config) })
    };
    request.image_filters.iter().map(filter).collect()
}

/// Who wrote a parameter, for messages.
fn place(given: &Given, config: &Config) -> String {
    let Given { name, value, source } = given;
    match source {
        Source::CommandLine => format!("the kernel command line ({name}={value})"),
        Source::Defaults | Source::Policy => format!("{} (CommandLine={name}={value})", config.file),
    }
}

/// Whether these are what is demanded, as far as that can be told of what was asked for.
pub(super) fn meet(
    demands: &Demands,
    request: &Request,
    root: &FileSystem,
    usr: Option<&FileSystem>,
) -> Result<(), Error> {
    let options = [request.root_options.as_ref(), request.usr_options.as_ref()];
    let places = [(Designator::Root, Some(root)), (Designator::Usr, usr)];
    for ((which, fs), options) in places.into_iter().zip(options) {
        if fs.is_some_and(|fs| matches!(fs.from, From::Dissect(_))) {
            continue;
        }
        let Some((what, proof)) = fs.and_then(|fs| proven(fs, options)) else {
            demands.allow(which, Candidate::None)?;
            continue;
        };
        let has_tree = fs.is_some_and(|fs| matches!(fs.from, From::Verity(_)));
        demands.allow(which, Candidate::Image { what: &what, proof, has_tree })?;
    }
    Ok(())
}

/// What is proven of the image that a file system comes from; `None` where it comes from none.
fn proven(fs: &FileSystem, options: Option<&Given>) -> Option<(String, Proof)> {
    match &fs.from {
        From::Tmpfs | From::Bind(_) | From::Dissect(_) => None,
        From::Device(_) | From::GptAuto => Some((describe(&fs.from), Proof::Unprotected)),
        From::Verity(verity) => Some(match weakened(&verity.options, options) {
            Some((given, _)) => {
                (format!("dm-verity {} with {}={}", verity.name, given.name, given.value), Proof::Unprotected)
            }
            None => (
                format!("root hash {} from {}", verity.root_hash, verity.root_hash_from.place()),
                verity.proof(),
            ),
        }),
    }
}

/// An option by which a verified file system shows what nobody checked.
struct Weakness {
    option: &'static str,
    effect: &'static str,
}

/// What weakens verification, if whoever may write the kernel command line asked for it: who baked in a policy may.
fn weakened<'a>(options: &VerityOptions, given: Option<&'a Given>) -> Option<(&'a Given, Weakness)> {
    let given = given.filter(|given| given.source == Source::CommandLine)?;
    let weakness = if options.corruption == Corruption::Ignore {
        Weakness { option: "ignore-corruption", effect: "lets through what does not verify" }
    } else if options.check_at_most_once {
        // A block that leaves the page cache is read again, and whoever can write to the disk knows.
        Weakness { option: "check-at-most-once", effect: "lets through what changes after it was read once" }
    } else {
        return None;
    };
    Some((given, weakness))
}

fn which(names: &Names) -> &'static str {
    if names.dm == ROOT.dm { "root" } else { "/usr" }
}

fn describe(from: &From) -> String {
    match from {
        From::Device(tag) => tag.to_string(),
        From::Verity(verity) => format!("dm-verity {}", verity.name),
        From::GptAuto | From::Dissect(_) => "a root by partition type".to_owned(),
        From::Tmpfs => "an empty tmpfs".to_owned(),
        From::Bind(path) => format!("{path} of the initramfs"),
    }
}
