//! The kernel's announcements: `add@/devices/...`, then `KEY=VALUE` fields, each ended by a zero
//! (lib/kobject_uevent.c; of block devices, block/genhd.c and block/partitions/core.c). udevd repeats each when its rules
//! have run, with fields of its own behind a binary header (systemd, src/libsystemd/sd-device/device-monitor.c).

use std::str::FromStr;

use crate::format::kernel::devno::Devno;

/// An announcement, as far as we listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uevent {
    /// `add`, `change`, `remove` ...
    pub action: String,
    /// The device, below /sys.
    pub devpath: String,
    /// `block` ...
    pub subsystem: Option<String>,
    /// The node's name in /dev.
    pub devname: Option<String>,
    /// `disk`, `partition` ...
    pub devtype: Option<String>,
    /// The node's number.
    pub devno: Option<Devno>,
    /// A disk's serial number in the order of appearance: never used twice while the kernel runs (5.15).
    pub diskseq: Option<u64>,
    /// A partition's number in its table.
    pub partn: Option<u32>,
    /// What a driver for it answers to.
    pub modalias: Option<String>,
    /// The announcement's own number, which udevd repeats.
    pub seqnum: Option<u64>,
}

/// Bytes that are no announcement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `ACTION@DEVPATH` at the start, or not udevd's header.
    #[error("a message without ACTION@DEVPATH")]
    NoHeader,
    /// Bytes that are not UTF-8.
    #[error("a message that is not text")]
    NotText,
    /// A field that should be a number.
    #[error("a message with {field}={value}, which is no number that it can be")]
    Number {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

/// What udevd's messages begin with: a name, and a number whose bytes are in the network's order.
const UDEV: &[u8] = b"libudev\0\xfe\xed\xca\xfe";

impl Uevent {
    /// Reads a message of the kernel.
    pub fn parse(message: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(message).map_err(|_| Error::NotText)?;
        let (head, fields) = text.split_once('\0').unwrap_or((text, ""));
        let (action, devpath) = head.split_once('@').ok_or(Error::NoHeader)?;
        Self { action: action.to_owned(), devpath: devpath.to_owned(), ..Self::default() }.with(fields)
    }

    /// Reads a message of udevd.
    pub fn parse_udev(message: &[u8]) -> Result<Self, Error> {
        let header = message.strip_prefix(UDEV).ok_or(Error::NoHeader)?;
        // After the size of the header, in the machine's own order: where the fields begin, and their length.
        let number =
            |at| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        let (start, length) = number(4).zip(number(8)).ok_or(Error::NoHeader)?;
        let end = start.checked_add(length).ok_or(Error::NoHeader)?;
        let fields = message.get(start as usize..end as usize).ok_or(Error::NoHeader)?;
        let fields = std::str::from_utf8(fields).map_err(|_| Error::NotText)?;
        let pairs = fields.split('\0').filter_map(|field| field.split_once('='));
        let of = |name: &str| pairs.clone().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let (action, devpath) = (of("ACTION").unwrap_or_default(), of("DEVPATH").unwrap_or_default());
        Self { action, devpath, ..Self::default() }.with(fields)
    }

    /// With what the fields say.
    fn with(self, fields: &str) -> Result<Self, Error> {
        let mut event = self;
        let (mut major, mut minor) = (None, None);
        for (key, value) in fields.split('\0').filter_map(|field| field.split_once('=')) {
            match key {
                "SUBSYSTEM" => event.subsystem = Some(value.to_owned()),
                "DEVNAME" => event.devname = Some(value.to_owned()),
                "DEVTYPE" => event.devtype = Some(value.to_owned()),
                "MODALIAS" => event.modalias = Some(value.to_owned()),
                "MAJOR" => major = Some(value),
                "MINOR" => minor = Some(value),
                "SEQNUM" => event.seqnum = Some(number("SEQNUM", value)?),
                "DISKSEQ" => event.diskseq = Some(number("DISKSEQ", value)?),
                "PARTN" => event.partn = Some(number("PARTN", value)?),
                _ => {}
            }
        }
        event.devno = major.zip(minor).map(|(major, minor)| devno(major, minor)).transpose()?;
        Ok(event)
    }
}

fn number<T: FromStr>(field: &'static str, value: &str) -> Result<T, Error> {
    value.parse().map_err(|_| Error::Number { field, value: value.to_owned() })
}

fn devno(major: &str, minor: &str) -> Result<Devno, Error> {
    let value = format!("{major}:{minor}");
    value.parse().map_err(|_| Error::Number { field: "MAJOR:MINOR", value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let event = Uevent::parse(
            b"add@/devices/x/block/vda/vda1\0ACTION=add\0SUBSYSTEM=block\0MAJOR=254\0DEVNAME=vda1\0",
        )
        .unwrap();
        assert_eq!((event.action.as_str(), event.devname.as_deref()), ("add", Some("vda1")));
        assert_eq!(event.subsystem.as_deref(), Some("block"));
        let event = Uevent::parse(b"add@/devices/y\0MODALIAS=pci:v=1\0rubbish\0").unwrap();
        assert_eq!(event.modalias.as_deref(), Some("pci:v=1"));
        for (message, error) in
            [(&b""[..], Error::NoHeader), (b"libudev\0\xfe", Error::NotText), (b"libudev\0", Error::NoHeader)]
        {
            assert_eq!(Uevent::parse(message), Err(error));
        }
    }

    #[test]
    fn a_partition() {
        let message = b"add@/devices/pci0000:00/0000:00:04.0/virtio2/block/vda/vda1\0ACTION=add\0\
            DEVPATH=/devices/pci0000:00/0000:00:04.0/virtio2/block/vda/vda1\0SUBSYSTEM=block\0MAJOR=254\0MINOR=1\0\
            DEVNAME=vda1\0DEVTYPE=partition\0DISKSEQ=9\0PARTN=1\0SEQNUM=1205\0";
        let event = Uevent::parse(message).unwrap();
        let expected = Uevent {
            action: "add".to_owned(),
            devpath: "/devices/pci0000:00/0000:00:04.0/virtio2/block/vda/vda1".to_owned(),
            subsystem: Some("block".to_owned()),
            devname: Some("vda1".to_owned()),
            devtype: Some("partition".to_owned()),
            devno: Some(Devno { major: 254, minor: 1 }),
            diskseq: Some(9),
            partn: Some(1),
            modalias: None,
            seqnum: Some(1205),
        };
        assert_eq!(event, expected);
    }

    /// `send` of device-monitor.c writes such a header: 40 bytes, of which a filter reads the last 16.
    #[test]
    fn udevd_tells_what_it_is_done_with() {
        let fields = "ACTION=remove\0DEVPATH=/devices/virtual/block/dm-1\0SUBSYSTEM=block\0DEVNAME=/dev/dm-1\0MAJOR=253\0\
            MINOR=1\0SEQNUM=77\0";
        let message = |start: u32, length: u32| {
            let numbers = [40, start, length, 0, 0, 0, 0].map(u32::to_ne_bytes);
            [UDEV, &numbers.concat(), fields.as_bytes()].concat()
        };
        let length = fields.len() as u32;
        let event = Uevent::parse_udev(&message(40, length)).unwrap();
        assert_eq!(
            (event.action.as_str(), event.devpath.as_str(), event.devno, event.seqnum),
            ("remove", "/devices/virtual/block/dm-1", Some(Devno { major: 253, minor: 1 }), Some(77))
        );
        // What the kernel's head says, no field says otherwise, nor in its place.
        let event = Uevent::parse(b"@/x\0ACTION=add\0DEVPATH=/y\0").unwrap();
        assert_eq!((event.action.as_str(), event.devpath.as_str()), ("", "/x"));
        for (start, length) in [(40, length + 1), (41, length), (u32::MAX, length), (length, u32::MAX)] {
            assert_eq!(Uevent::parse_udev(&message(start, length)), Err(Error::NoHeader), "{start}+{length}");
        }
        for cut in 0..40 {
            assert_eq!(Uevent::parse_udev(&message(40, length)[..cut]), Err(Error::NoHeader), "{cut}");
        }
        assert_eq!(Uevent::parse_udev(b"add@/x\0ACTION=add\0"), Err(Error::NoHeader));
    }

    #[test]
    fn numbers() {
        for (fields, wrong) in [
            ("MAJOR=254\0", None),
            ("PARTN=-1\0", Some(("PARTN", "-1"))),
            ("PARTN=4294967296\0", Some(("PARTN", "4294967296"))),
            ("DISKSEQ=\0", Some(("DISKSEQ", ""))),
            ("MAJOR=254\0MINOR=1048576\0", Some(("MAJOR:MINOR", "254:1048576"))),
            ("MAJOR=8:1\0MINOR=\0", Some(("MAJOR:MINOR", "8:1:"))),
        ] {
            let got = Uevent::parse(format!("add@/x\0{fields}").as_bytes()).map(|event| event.devno);
            let error = wrong.map(|(field, value)| Error::Number { field, value: value.to_owned() });
            assert_eq!(got, error.map_or(Ok(None), Err), "{fields}");
        }
    }
}
