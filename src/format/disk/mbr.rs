//! Master boot records, as far as PARTUUID= needs them (kernel block/partitions/msdos.c).

use crate::format::bytes::{array, le32};

/// The signature of a disk with an MBR that is no GPT's protective one.
///
/// Linux names its partitions `SIGNATURE-NN`, both in hexadecimal, also where the signature is zero.
#[must_use]
pub fn disk_signature(block: &[u8]) -> Option<u32> {
    const PROTECTIVE: u8 = 0xee;
    let types = [450, 466, 482, 498];
    let protective = types.iter().any(|at| block.get(*at) == Some(&PROTECTIVE));
    (array(block, 510)? == [0x55, 0xaa] && !protective).then_some(())?;
    le32(block, 440)
}

/// The PARTUUID of a partition on such a disk.
#[must_use]
pub fn partition_uuid(signature: u32, number: u32) -> String {
    format!("{signature:08x}-{number:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        let block = |signature: u32, kind: u8| {
            let mut block = vec![0; 512];
            block[440..444].copy_from_slice(&signature.to_le_bytes());
            block[450] = kind;
            block[510..].copy_from_slice(&[0x55, 0xaa]);
            block
        };
        assert_eq!(disk_signature(&block(0xabcd, 0x83)), Some(0xabcd));
        assert_eq!(disk_signature(&block(0xabcd, 0xee)), None, "a GPT's");
        assert_eq!(disk_signature(&block(0, 0x83)), Some(0), "never set");
        assert_eq!(disk_signature(&block(0xabcd, 0x83)[..511]), None);
        assert_eq!(partition_uuid(0xabcd, 10), "0000abcd-0a");
    }
}
