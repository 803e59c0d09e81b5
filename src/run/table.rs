//! Reads partition tables: what the kernel does not say of a partition before 6.13.

use crate::{
    format::{
        gpt::{self, Header},
        mbr,
    },
    plan::facts::Partition,
    sys::block::{Device, Entry},
    units::{BlockSize, Sectors},
};

/// Describes the partition `entry` of `disk`, by the table that holds it; the kernel's number says which
/// it is. Where the table cannot be read, the partition has no names and the reason stands beside it.
pub(super) fn partition(disk: &Entry, entry: &Entry) -> Option<(Partition, Option<String>)> {
    let number: u32 = entry.attribute("partition")?.parse().ok()?;
    let nameless = |uuid| Partition {
        disk: disk.name.clone(),
        number,
        uuid,
        type_uuid: None,
        label: None,
        attributes: 0,
    };
    let error = match read(disk) {
        Ok(Table::Gpt(partitions)) => match partitions.into_iter().find(|found| found.number == number) {
            Some(found) => {
                let partition = Partition {
                    disk: disk.name.clone(),
                    number,
                    uuid: Some(found.uuid.to_string()),
                    type_uuid: Some(found.type_uuid),
                    label: Some(found.label),
                    attributes: found.attributes,
                };
                return Some((partition, None));
            }
            None => format!("it has no partition {number}"),
        },
        Ok(Table::Mbr(signature)) => {
            return Some((nameless(Some(mbr::partition_uuid(signature, number))), None));
        }
        Err(why) => why,
    };
    Some((nameless(None), Some(error)))
}

enum Table {
    Gpt(Vec<gpt::Partition>),
    Mbr(u32),
}

fn read(disk: &Entry) -> Result<Table, String> {
    let devno = disk.attribute("dev").and_then(|text| text.parse::<crate::format::devno::Devno>().ok());
    let devno = devno.ok_or_else(|| format!("{} is gone", disk.name))?;
    let size = disk.attribute("size").and_then(|text| text.parse().ok()).and_then(|n| Sectors(n).to_bytes());
    let block_size = disk.logical_block_size();
    let blocks = size.map_or(0, |size| size.0 / u64::from(block_size.get()));
    let device = Device::open(&disk.node(), devno).map_err(|e| e.in_one_line())?;
    let first = device.read(0, 512).map_err(|e| e.in_one_line())?;
    if let Some(signature) = mbr::disk_signature(&first) {
        return Ok(Table::Mbr(signature));
    }
    // The second copy stands in the last block, for when the first is damaged.
    match gpt_at(&device, block_size, 1, blocks) {
        Ok(partitions) => Ok(Table::Gpt(partitions)),
        Err(first) => match gpt_at(&device, block_size, blocks.saturating_sub(1), blocks) {
            Ok(partitions) => Ok(Table::Gpt(partitions)),
            Err(second) => Err(format!("primary GPT: {first}; backup GPT: {second}")),
        },
    }
}

fn gpt_at(
    device: &Device,
    block_size: BlockSize,
    lba: u64,
    blocks: u64,
) -> Result<Vec<gpt::Partition>, String> {
    let offset = block_size.times(lba).ok_or("it lies past the end")?;
    let block = device.read(offset.0, block_size.get() as usize).map_err(|e| e.in_one_line())?;
    let header = Header::parse(&block, block_size, lba, blocks).map_err(|e| e.to_string())?;
    let (offset, length) = header.entries().ok_or("its entries lie past the end")?;
    let entries = device.read(offset, length).map_err(|e| e.in_one_line())?;
    header.parse_entries(&entries).map_err(|e| e.to_string())
}
