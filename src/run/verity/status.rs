//! What is told of a dm-verity device that is open.

use std::fmt;

use crate::{
    format::{
        kernel::devno::Devno,
        verity::{
            hex,
            table::{FEC_DEVICE, VerityStatus, VerityTable},
        },
    },
    sys::{block::Entry, dm::Control, loopdev},
    units::{SECTOR_SIZE, Sectors},
};

use super::device::Error;

/// A device of a name, whether it is open or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The dm name.
    pub name: String,
    /// What is known of it; `None` where there is none.
    pub active: Option<Active>,
}

/// One that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Whether somebody has it open.
    pub in_use: bool,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// Its table and what was seen so far; `None` for a dm device of another kind.
    pub verity: Option<(VerityTable, VerityStatus)>,
    /// The data device, with the file behind it where it is a loop device.
    pub data: Backing,
    /// The hash device.
    pub hash: Backing,
    /// The device with parity, where there is one.
    pub fec: Option<Backing>,
}

/// A device, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Its node.
    pub node: String,
    /// The file behind a loop device.
    pub file: Option<String>,
}

/// Looks at the device of a name.
pub fn status(name: &str) -> Result<Status, Error> {
    let name = name.to_owned();
    let control = Control::open()?;
    let table = match control.table(&name) {
        Err(error) if error.is_absent() => return Ok(Status { name, active: None }),
        table => table?,
    };
    let (info, seen) = (control.info(&name)?, control.status(&name)?);
    let verity = match table.kind.as_str() {
        "verity" => table.text.parse::<VerityTable>().ok().zip(VerityStatus::parse(&seen.text).ok()),
        _ => None,
    };
    let (data, hash) = match &verity {
        Some((table, _)) => (backing(table.data), backing(table.hash)),
        None => Default::default(),
    };
    let fec = verity.as_ref().and_then(|(table, _)| table.value(FEC_DEVICE)?.parse().ok()).map(backing);
    let active = Active { in_use: info.open_count > 0, read_only: info.read_only, verity, data, hash, fec };
    Ok(Status { name, active: Some(active) })
}

fn backing(devno: Devno) -> Backing {
    let Some(entry) = Entry::of(devno) else { return Backing { node: devno.to_string(), file: None } };
    let is_loop = entry.name.starts_with("loop");
    let file = is_loop.then(|| loopdev::status(&entry.name).ok().flatten()).flatten();
    Backing { node: entry.node().display().to_string(), file: file.map(|status| status.file_name) }
}

impl fmt::Display for Status {
    /// As veritysetup(8) prints it, for people and scripts that know that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(active) = &self.active else {
            return writeln!(f, "/dev/mapper/{} is inactive.", self.name);
        };
        let in_use = if active.in_use { " and is in use" } else { "" };
        writeln!(f, "/dev/mapper/{} is active{in_use}.", self.name)?;
        let Some((table, seen)) = &active.verity else {
            return writeln!(f, "  type:        n/a");
        };
        let word = |word: &str| table.options.iter().any(|option| option == word);
        let seen = if *seen == VerityStatus::Verified { "verified" } else { "corrupted" };
        let signed = if word("root_hash_sig_key_desc") { " (with signature)" } else { "" };
        writeln!(f, "  type:        VERITY")?;
        writeln!(f, "  status:      {seen}{signed}")?;
        writeln!(f, "  hash type:   {}", table.version)?;
        writeln!(f, "  data block:  {} [bytes]", table.data_block_size)?;
        writeln!(f, "  hash block:  {} [bytes]", table.hash_block_size)?;
        writeln!(f, "  hash name:   {}", table.algorithm)?;
        writeln!(f, "  salt:        {}", hex(&table.salt))?;
        active.data.write(f, "data")?;
        units(f, "size:       ", table.sectors())?;
        writeln!(f, "  mode:        {}", if active.read_only { "readonly" } else { "read/write" })?;
        active.hash.write(f, "hash")?;
        let start = table.hash_block_size.times(table.hash_start).unwrap_or_default();
        units(f, "hash offset:", start.to_sectors())?;
        if let Some(fec) = &active.fec {
            fec.write(f, "FEC")?;
            let start = table.value("fec_start").and_then(|blocks| blocks.parse().ok());
            let start = start.and_then(|blocks| table.hash_block_size.times(blocks)).unwrap_or_default();
            units(f, "FEC offset: ", start.to_sectors())?;
            writeln!(f, "  FEC roots:   {}", table.value("fec_roots").unwrap_or_default())?;
        }
        writeln!(f, "  root hash:   {}", table.root_hash)?;
        let flags: Vec<&str> = FLAGS.into_iter().filter(|flag| word(flag)).collect();
        if flags.is_empty() { Ok(()) } else { writeln!(f, "  flags:       {}", flags.join(" ")) }
    }
}

/// Words of a table that are told of, in this order.
const FLAGS: [&str; 8] = [
    "ignore_corruption",
    "restart_on_corruption",
    "panic_on_corruption",
    "restart_on_error",
    "panic_on_error",
    "ignore_zero_blocks",
    "check_at_most_once",
    "try_verify_in_tasklet",
];

fn units(f: &mut fmt::Formatter<'_>, label: &str, sectors: Sectors) -> fmt::Result {
    let Sectors(count) = sectors;
    writeln!(f, "  {label} {count} [512-byte units] ({} [bytes])", count.saturating_mul(SECTOR_SIZE))
}

impl Backing {
    fn write(&self, f: &mut fmt::Formatter<'_>, role: &str) -> fmt::Result {
        writeln!(f, "  {:12} {}", format!("{role} device:"), self.node)?;
        match &self.file {
            Some(file) => writeln!(f, "  {:12} {file}", format!("{role} loop:")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_veritysetup_prints_it() {
        let table = "1 7:0 7:1 4096 4096 16 1 sha256 \
            f1b5d2c4c2d0c3ef8d5bdb1b5bd3ac0e9f9e1b4d8a1c2f3e4d5c6b7a8f9e0d1c - 10 ignore_zero_blocks check_at_most_once use_fec_from_device 8:3 fec_blocks 17 fec_start 2 fec_roots 24";
        let active = Active {
            in_use: true,
            read_only: true,
            verity: Some((table.parse().unwrap(), VerityStatus::Verified)),
            data: Backing { node: "/dev/loop0".to_owned(), file: Some("/a/data".to_owned()) },
            hash: Backing { node: "/dev/sda2".to_owned(), file: None },
            fec: Some(Backing { node: "/dev/sda3".to_owned(), file: None }),
        };
        let status = Status { name: "image".to_owned(), active: Some(active) };
        let expected = "/dev/mapper/image is active and is in use.\n  type:        VERITY\n  status:      verified\n  \
            hash type:   1\n  data block:  4096 [bytes]\n  hash block:  4096 [bytes]\n  hash name:   sha256\n  \
            salt:        -\n  data device: /dev/loop0\n  data loop:   /a/data\n  \
            size:        128 [512-byte units] (65536 [bytes])\n  mode:        readonly\n  hash device: /dev/sda2\n  \
            hash offset: 8 [512-byte units] (4096 [bytes])\n  \
            FEC device:  /dev/sda3\n  FEC offset:  16 [512-byte units] (8192 [bytes])\n  FEC roots:   24\n  \
            root hash:   f1b5d2c4c2d0c3ef8d5bdb1b5bd3ac0e9f9e1b4d8a1c2f3e4d5c6b7a8f9e0d1c\n  \
            flags:       ignore_zero_blocks check_at_most_once\n";
        assert_eq!(status.to_string(), expected);
        let none = Status { name: "image".to_owned(), active: None };
        assert_eq!(none.to_string(), "/dev/mapper/image is inactive.\n");
    }
}
