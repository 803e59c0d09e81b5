//! The parity of an image, open, with what it covers.

use std::path::Path;

use crate::{
    format::verity::{
        fec::{self, Layout},
        reed_solomon::ReedSolomon,
        superblock::VeritySuperblock,
        tree::Tree,
    },
    units::Bytes,
};

use super::{correction::Correction, failure::Error, opened::Opened, parameters::Fec};

/// Parity that is open.
pub(super) struct Parity {
    pub(super) opened: Opened,
    pub(super) layout: Layout,
    /// Where it begins, in bytes from its device's start.
    pub(super) offset: Bytes,
    /// Whether the hash tree is on the same device.
    pub(super) beside_tree: bool,
    code: ReedSolomon,
}

impl Parity {
    /// Opens it, where it is asked for, for an image whose hash device has, or will have, so many bytes.
    pub(super) fn open(
        asked: Option<&Fec>,
        open: &dyn Fn(&Path) -> Result<Opened, Error>,
        hash: &Opened,
        length: Bytes,
        superblock: &VeritySuperblock,
        (tree, start): (&Tree, u64),
    ) -> Result<Option<Self>, Error> {
        let Some(Fec { device, offset, roots }) = asked else { return Ok(None) };
        let code = ReedSolomon::new(*roots).ok_or(fec::Error::Roots(*roots))?;
        fec::start(*offset, superblock.data_block_size)?;
        let layout = |end| {
            let sizes = (superblock.data_block_size, superblock.hash_block_size);
            Layout::new(*roots, sizes, superblock.data_blocks, (start, tree.blocks()), end)
        };
        // Before anything is made: what can never be.
        layout(length)?;
        let opened = open(device)?;
        let beside_tree = opened.is(hash);
        let layout = if beside_tree { layout(*offset)? } else { layout(length)? };
        Ok(Some(Self { opened, layout, offset: *offset, beside_tree, code }))
    }

    /// Makes sure that there is room for it, behind the data where that is on the same device.
    pub(super) fn make_room(&self, data: &Opened, of_data: Bytes) -> Result<(), Error> {
        let opened = &self.opened;
        if opened.is(data) && self.offset < of_data {
            return Err(Error::ParityOverlap {
                path: opened.path.clone(),
                data: of_data.0,
                parity: self.offset.0,
            });
        }
        match self.is_there() {
            Err(_) if !opened.is_device => {
                opened.file.set_len(self.end().0).map_err(opened.failed("lengthen"))
            }
            there => there,
        }
    }

    /// Makes sure that its device is long enough.
    pub(super) fn is_there(&self) -> Result<(), Error> {
        let Opened { path, size, .. } = &self.opened;
        if *size < self.end() {
            return Err(Error::ParityFull { path: path.clone(), needs: self.end(), has: *size });
        }
        Ok(())
    }

    fn end(&self) -> Bytes {
        Bytes(self.offset.0.saturating_add(self.layout.parity().0))
    }

    pub(super) fn correction<'a>(&'a self, data: &'a Opened, hash: &'a Opened, start: u64) -> Correction<'a> {
        Correction {
            layout: &self.layout,
            code: &self.code,
            data: &data.file,
            hash: &hash.file,
            start,
            parity: &self.opened.file,
            offset: self.offset.0,
        }
    }
}
