//! Why a command line is not accepted.

use crate::format::{
    config::{image_filter, image_policy},
    verity::{options, root_hash::NotARootHash},
};

use super::{
    refusal::Refusal,
    request::{self, Given},
};

/// A command line that cannot be meant, or that policy forbids. Nothing was touched yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A parameter in a form that it does not have.
    #[error(transparent)]
    Form(#[from] request::Error),
    /// A value that is not possible.
    #[error("{parameter}={value}: {why}")]
    Value {
        /// The parameter.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// Why not, and what to write.
        why: String,
    },
    /// A root hash that is none.
    #[error("{parameter}=")]
    RootHash {
        /// The parameter.
        parameter: &'static str,
        /// Why.
        #[source]
        source: NotARootHash,
    },
    /// dm-verity options that cannot be.
    #[error("{parameter}={value}")]
    Options {
        /// The parameter.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// Why not.
        #[source]
        source: options::Error,
    },
    /// An image policy that cannot be.
    #[error("{parameter}={value}")]
    ImagePolicy {
        /// The parameter.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// Why not.
        #[source]
        source: image_policy::Error,
    },
    /// An image filter that cannot be.
    #[error("{parameter}={value}")]
    ImageFilter {
        /// The parameter.
        parameter: &'static str,
        /// What was given.
        value: String,
        /// Why not.
        #[source]
        source: image_filter::Error,
    },
    /// An image that is not what is demanded.
    #[error(transparent)]
    Demand(#[from] Refusal),
    /// Parameters that exclude each other, or one that needs another.
    #[error("{0}")]
    Contradiction(String),
    /// What policy forbids.
    #[error("{what}, but {file} requires a verified {which} ({rule}): {instead}")]
    Policy {
        /// What was asked for.
        what: String,
        /// The configuration.
        file: String,
        /// `root` or `/usr`.
        which: &'static str,
        /// The line of it.
        rule: String,
        /// What to write.
        instead: String,
    },
}

/// A value that is not possible: why not, and what to write.
pub(super) fn value_error(given: &Given, why: impl Into<String>) -> Error {
    Error::Value { parameter: given.name, value: given.value.clone(), why: why.into() }
}
