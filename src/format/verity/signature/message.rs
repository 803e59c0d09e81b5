//! What of a PKCS#7 message says who signed it, and how: SignedData (RFC 5652, section 5).
//!
//! Certificates in the message are passed over unread: who signed is found among the trusted ones only.

use der::{
    Decode, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::{AnyRef, ObjectIdentifier, OctetStringRef},
};

/// A signer, and what was signed.
#[derive(Debug)]
pub(super) struct Signer<'a> {
    pub(super) id: SignerId<'a>,
    pub(super) digest: ObjectIdentifier,
    pub(super) algorithm: ObjectIdentifier,
    pub(super) attributes: Option<Attributes<'a>>,
    pub(super) signature: &'a [u8],
}

/// How a signer is named.
#[derive(Debug, PartialEq)]
pub(super) enum SignerId<'a> {
    /// By the issuer's name and the serial number, both as they stand in DER.
    Serial { issuer: &'a [u8], serial: &'a [u8] },
    /// By the certificate's subjectKeyIdentifier.
    KeyId(&'a [u8]),
}

/// Signed attributes: they are what is signed, and one of them is the digest of the content.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    /// All of them, as they stand behind their tag.
    pub(super) signed: &'a [u8],
    /// The messageDigest.
    pub(super) digest: &'a [u8],
}

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");

/// More signers than any image has: each costs time.
const MOST_SIGNERS: usize = 8;

/// The signers of a message; the words for a refusal.
pub(super) fn signers(der: &[u8]) -> Result<Vec<Signer<'_>>, String> {
    let read = || -> der::Result<Result<Vec<Signer<'_>>, String>> {
        let mut reader = SliceReader::new(der)?;
        let content = reader.sequence(|reader| {
            let kind = ObjectIdentifier::decode(reader)?;
            let content = context(reader, 0)?;
            Ok::<_, der::Error>(content.filter(|_| kind == SIGNED_DATA))
        })?;
        reader.finish()?;
        let Some(content) = content else { return Ok(Err("it is no SignedData".to_owned())) };
        signed_data(content.value())
    };
    read().map_err(|error| format!("its PKCS#7 cannot be read: {error}"))?
}

fn signed_data(bytes: &[u8]) -> der::Result<Result<Vec<Signer<'_>>, String>> {
    let mut reader = SliceReader::new(bytes)?;
    let (kind, has_content, infos) = reader.sequence(|reader| {
        let _version = u8::decode(reader)?;
        let _digests = of_tag(reader, Tag::Set)?;
        let (kind, has_content) = reader.sequence(|reader| {
            let kind = ObjectIdentifier::decode(reader)?;
            Ok::<_, der::Error>((kind, context(reader, 0)?.is_some()))
        })?;
        let _certificates = context(reader, 0)?;
        let _revoked = context(reader, 1)?;
        Ok::<_, der::Error>((kind, has_content, of_tag(reader, Tag::Set)?))
    })?;
    reader.finish()?;
    if kind != DATA {
        return Ok(Err(format!("it signs {kind}, not data")));
    }
    if has_content {
        let why = "what it signs is inside of it: a detached signature is needed (without -nodetach)";
        return Ok(Err(why.to_owned()));
    }
    let mut reader = SliceReader::new(infos.value())?;
    let mut signers = Vec::new();
    while !reader.is_finished() {
        if signers.len() == MOST_SIGNERS {
            return Ok(Err(format!("it has more than {MOST_SIGNERS} signers")));
        }
        signers.push(reader.sequence(signer)?);
    }
    if signers.is_empty() { Ok(Err("nobody signed it".to_owned())) } else { Ok(Ok(signers)) }
}

fn signer<'a>(reader: &mut SliceReader<'a>) -> der::Result<Signer<'a>> {
    let _version = u8::decode(reader)?;
    let id = match context(reader, 0)? {
        Some(key_id) => SignerId::KeyId(key_id.value()),
        None => reader.sequence(|reader| {
            let issuer = reader.tlv_bytes()?;
            Tag::peek(reader)?.assert_eq(Tag::Integer)?;
            let serial = reader.tlv_bytes()?;
            Ok::<_, der::Error>(SignerId::Serial { issuer, serial })
        })?,
    };
    let digest = algorithm(reader)?;
    let attributes = context(reader, 0)?.map(attributes).transpose()?;
    let algorithm = algorithm(reader)?;
    let signature = of_tag(reader, Tag::OctetString)?.value();
    let _unsigned = context(reader, 1)?;
    Ok(Signer { id, digest, algorithm, attributes, signature })
}

/// contentType and messageDigest have to be there, each once and with one value (RFC 5652, section 11).
fn attributes(all: AnyRef<'_>) -> der::Result<Attributes<'_>> {
    let signed = all.value();
    let wrong = || der::Error::from(der::ErrorKind::Value { tag: Tag::Set });
    let mut reader = SliceReader::new(signed)?;
    let (mut kind, mut digest) = (None, None);
    while !reader.is_finished() {
        let (name, values) = reader.sequence(|reader| {
            Ok::<_, der::Error>((ObjectIdentifier::decode(reader)?, of_tag(reader, Tag::Set)?.value()))
        })?;
        let twice = match name {
            CONTENT_TYPE => kind.replace(ObjectIdentifier::from_der(values)?).is_some(),
            MESSAGE_DIGEST => digest.replace(<&OctetStringRef>::from_der(values)?.as_bytes()).is_some(),
            _ => false,
        };
        if twice {
            return Err(wrong());
        }
    }
    match (kind, digest) {
        (Some(DATA), Some(digest)) => Ok(Attributes { signed, digest }),
        _ => Err(wrong()),
    }
}

fn algorithm(reader: &mut SliceReader<'_>) -> der::Result<ObjectIdentifier> {
    reader.sequence(|reader| {
        let name = ObjectIdentifier::decode(reader)?;
        if !reader.is_finished() {
            AnyRef::decode(reader)?;
        }
        Ok(name)
    })
}

fn of_tag<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<AnyRef<'a>> {
    let any = AnyRef::decode(reader)?;
    any.tag().assert_eq(tag)?;
    Ok(any)
}

/// The element with this tag of the context, if it is the next one.
fn context<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<AnyRef<'a>>> {
    if reader.is_finished() {
        return Ok(None);
    }
    match Tag::peek(reader)? {
        Tag::ContextSpecific { number: found, .. } if found == TagNumber(number) => {
            AnyRef::decode(reader).map(Some)
        }
        _ => Ok(None),
    }
}
