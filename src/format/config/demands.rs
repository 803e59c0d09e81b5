//! What a configuration demands of images: keys that an initramfs and a running system both have.

use crate::format::{
    config::{
        image_filter::{self, ImageFilter},
        image_policy::{self, ImagePolicy},
        ini::{Assignment, Error, Placed},
    },
    system::sysupdate::is_version,
};

/// `ImagePolicy=`: an image policy.
pub(super) fn image_policy(
    assignment: &Assignment,
    file: &str,
) -> Result<Option<Placed<ImagePolicy>>, Error> {
    assignment
        .placed(file, |value| value.parse().map_err(|why: image_policy::Error| assignment.wrong(file, why)))
}

/// `ImageFilter=`: an image filter.
pub(super) fn image_filter(
    assignment: &Assignment,
    file: &str,
) -> Result<Option<Placed<ImageFilter>>, Error> {
    assignment
        .placed(file, |value| value.parse().map_err(|why: image_filter::Error| assignment.wrong(file, why)))
}

/// `MinimumVersion=`: a version, in the characters of UAPI.10 and those that systemd takes besides.
pub(super) fn minimum_version(assignment: &Assignment, file: &str) -> Result<Option<Placed<String>>, Error> {
    assignment.placed(file, |value| match is_version(value) {
        true => Ok(value.to_owned()),
        false => Err(assignment.impossible(file, "a version of letters, digits and - . ~ ^ _ + ,")),
    })
}
