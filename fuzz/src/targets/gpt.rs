//! `format/disk/gpt.rs`: entries lie on the disk and have 4 MiB at most; partitions lie within the usable blocks,
//! none over another, each with its place in the table. Checksums are made right here, so that what stands behind them
//! is reached; the header as it came is read too.

use nextroot::{format::disk::gpt::Header, units::BlockSize};

pub(super) fn run(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(512) else {
        let _ = Header::parse(data, BlockSize::B512, 1, 1 << 20);
        return;
    };
    let block_size = if head[100] & 1 == 0 { BlockSize::B512 } else { BlockSize::B4096 };
    let blocks = 1 << (u32::from(head[101]) % 51);
    check(head, rest, block_size, blocks);
    let mut entries = rest.to_vec();
    let claimed = u64::from(le32(head, 80)) * u64::from(le32(head, 84));
    // Entries that are not in the input are empty ones.
    entries.resize(entries.len().max(usize::try_from(claimed.min(64 << 10)).unwrap()), 0);
    let covered = usize::try_from(claimed).map_or(entries.len(), |claimed| claimed.min(entries.len()));
    let mut head = head.to_vec();
    head[..8].copy_from_slice(b"EFI PART");
    head[88..92].copy_from_slice(&crc32fast::hash(&entries[..covered]).to_le_bytes());
    head[16..20].fill(0);
    let size = usize::try_from(le32(&head, 12)).unwrap().clamp(92, 512);
    let crc = crc32fast::hash(&head[..size]);
    head[16..20].copy_from_slice(&crc.to_le_bytes());
    check(&head, &entries, block_size, blocks);
}

fn check(head: &[u8], entries: &[u8], block_size: BlockSize, blocks: u64) {
    let Ok(header) = Header::parse(head, block_size, 1, blocks) else { return };
    let (offset, length) = header.entries().expect("a header that is believed has its entries somewhere");
    let disk = block_size.times(blocks).unwrap().0;
    assert!(offset >= u64::from(block_size.get()) * 2 && length <= 4 << 20);
    assert!(offset.checked_add(length as u64).is_some_and(|end| end <= disk), "{offset} {length} {disk}");
    let Ok(partitions) = header.parse_entries(entries) else { return };
    assert!(partitions.len() <= length / 128);
    assert!(partitions.is_sorted_by(|one, next| one.number < next.number));
    let mut by_place: Vec<_> = partitions.iter().map(|p| (p.first_lba, p.last_lba)).collect();
    by_place.sort_unstable();
    assert!(by_place.iter().all(|(first, last)| first <= last && *last < blocks));
    assert!(by_place.is_sorted_by(|one, next| one.1 < next.0));
    assert!(
        partitions.iter().all(|p| p.number > 0 && p.label.chars().count() <= 36 && !p.type_uuid.is_nil())
    );
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
