//! `format/verity/signature/mod.rs`: what is read of a file is one element of DER, as long as it says, no longer than the
//! kernel takes; its base64 reads back, alone, with its lines broken, and as JSON; and a file that is DER is taken as it is.

use nextroot::format::verity::signature::{LONGEST, Signature};

pub(super) fn run(data: &[u8]) {
    let read = Signature::read(data);
    if let Ok(signature) = &read {
        same(signature);
        assert!(data.first() != Some(&0x30) || signature.der() == data);
    }
    if let Ok(signature) = super::text(data).parse::<Signature>() {
        same(&signature);
        assert_eq!(Signature::read(signature.der()), Ok(signature));
    }
}

fn same(signature: &Signature) {
    let der = signature.der();
    assert!(der[0] == 0x30 && der.len() <= LONGEST);
    let length = match der {
        [_, short @ ..=0x7f, ..] => 2 + usize::from(*short),
        [_, 0x81, length, ..] => 3 + usize::from(*length),
        [_, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => panic!("a head was let through: {der:?}"),
    };
    assert_eq!(der.len(), length);
    let text = signature.to_string();
    assert_eq!(text.parse().as_ref(), Ok(signature));
    let lines: Vec<String> = text.as_bytes().chunks(5).map(|line| super::text(line).into_owned()).collect();
    assert_eq!(lines.join("\n").parse().as_ref(), Ok(signature));
    let json = serde_json::to_string(signature).unwrap();
    assert_eq!(&serde_json::from_str::<Signature>(&json).unwrap(), signature);
}
