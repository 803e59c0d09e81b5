//! Reads partition tables: what the kernel does not say of a partition before 6.13.

use std::collections::BTreeMap;

use crate::{
    format::disk::{
        gpt::{self, Header},
        mbr,
    },
    plan::facts::Partition,
    sys::{
        self,
        block::{Device, Entry},
    },
    units::BlockSize,
};

/// Tables by disk, each read once however many partitions it has. To be forgotten as soon as the kernel
/// may have read a disk anew.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<String, Result<Table, String>>);

impl Tables {
    /// Describes the partition `entry` of `disk`, by the table that holds it; the kernel's number says which
    /// it is. Where the table cannot be read, the partition has no names and the reason stands beside it.
    pub(super) fn partition(&mut self, disk: &Entry, entry: &Entry) -> Option<(Partition, Option<String>)> {
        let number: u32 = entry.attribute("partition")?.parse().ok()?;
        let table = self.0.entry(disk.name.clone()).or_insert_with(|| read(disk));
        Some(partition(table, &disk.name, number))
    }
}

fn partition(table: &Result<Table, String>, disk: &str, number: u32) -> (Partition, Option<String>) {
    let nameless =
        |uuid| Partition { disk: disk.to_owned(), number, uuid, type_uuid: None, label: None, attributes: 0 };
    match table {
        Ok(Table::Gpt(partitions)) => match partitions.iter().find(|found| found.number == number) {
            Some(found) => (Partition::of_gpt(disk, found), None),
            None => (nameless(None), Some(format!("it has no partition {number}"))),
        },
        Ok(Table::Mbr(signature)) => (nameless(Some(mbr::partition_uuid(*signature, number))), None),
        Err(why) => (nameless(None), Some(why.clone())),
    }
}

#[derive(Debug)]
enum Table {
    Gpt(Vec<gpt::Partition>),
    Mbr(u32),
}

fn read(disk: &Entry) -> Result<Table, String> {
    let devno = disk.devno().ok_or_else(|| format!("{} is gone", disk.name))?;
    let block_size = disk.logical_block_size();
    let blocks = disk.size().map_or(0, |size| size.0 / u64::from(block_size.get()));
    let device = Device::open(&disk.node(), devno, None).map_err(|e| e.in_one_line())?;
    let first = device.read(0, 512).map_err(|e| e.in_one_line())?;
    if let Some(signature) = mbr::disk_signature(&first) {
        return Ok(Table::Mbr(signature));
    }
    gpt(&|offset, length| device.read(offset, length), block_size, blocks).map(Table::Gpt)
}

/// Reads at an offset.
pub(super) type Read<'a> = &'a dyn Fn(u64, usize) -> Result<Vec<u8>, sys::Error>;

/// Reads the GPT of a disk with so many blocks: the second copy, in the last block, where the first is damaged.
pub(super) fn gpt(read: Read<'_>, block_size: BlockSize, blocks: u64) -> Result<Vec<gpt::Partition>, String> {
    gpt_at(read, block_size, 1, blocks).or_else(|first| {
        gpt_at(read, block_size, blocks.saturating_sub(1), blocks)
            .map_err(|second| format!("primary GPT: {first}; backup GPT: {second}"))
    })
}

fn gpt_at(
    read: Read<'_>,
    block_size: BlockSize,
    lba: u64,
    blocks: u64,
) -> Result<Vec<gpt::Partition>, String> {
    let offset = block_size.times(lba).ok_or("it lies past the end")?;
    let block = read(offset.0, block_size.get() as usize).map_err(|e| e.in_one_line())?;
    let header = Header::parse(&block, block_size, lba, blocks).map_err(|e| e.to_string())?;
    let (offset, length) = header.entries().ok_or("its entries lie past the end")?;
    let entries = read(offset, length).map_err(|e| e.in_one_line())?;
    header.parse_entries(&entries).map_err(|e| e.to_string())
}
