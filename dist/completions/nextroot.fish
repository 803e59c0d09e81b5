# fish completion for nextroot(8)

# By udev's names, which have \x20 for a space.
function __nextroot_partitions
    for tag in PARTUUID PARTLABEL UUID LABEL
        for name in /dev/disk/by-(string lower $tag)/*
            echo $tag=(basename $name | string unescape)
        end
    end
end

# Such a word is no file: fish would complete one behind its ":" or "=".
function __nextroot_is_no_file
    string match -qr '^(--hash-device=)?(slot:|roothash:|(PART)?(UUID|LABEL)=)' -- (commandline -ct)
end

set -l commands plan preflight stage status cancel reboot rollback bless gc report doctor verity
set -l trees format verify dump open close status
set -l none "not __fish_seen_subcommand_from $commands"

complete -c nextroot -n $none -f
complete -c nextroot -n $none -a plan -d 'Print what would be done, touching nothing'
complete -c nextroot -n $none -a preflight -d 'Check whether a source can be staged here'
complete -c nextroot -n $none -a stage -d 'Make a source the next root'
complete -c nextroot -n $none -a status -d 'Current, staged and previous root'
complete -c nextroot -n $none -a cancel -d 'Undo stage'
complete -c nextroot -n $none -a reboot -d 'Soft reboot into the staged root, or stage first'
complete -c nextroot -n $none -a rollback -d 'Soft reboot into the root that ran before'
complete -c nextroot -n $none -a bless -d 'Declare the running root healthy'
complete -c nextroot -n $none -a gc -d 'Close the devices of earlier roots'
complete -c nextroot -n $none -a report -d 'What the last soft reboot cost'
complete -c nextroot -n $none -a doctor -d 'Whether this machine could soft-reboot into another root'
complete -c nextroot -n $none -a verity -d 'Hash trees, and devices over them'
complete -c nextroot -n $none -l version -d 'Show the version'
complete -c nextroot -l help -d 'Show the options'

complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot doctor' -a 'slot:other previous roothash: PARTUUID= PARTLABEL= UUID= LABEL=' -d Source
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot doctor' -a '(__nextroot_partitions)' -d Partition
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot doctor; and __nextroot_is_no_file' -f
complete -c nextroot -n '__fish_seen_subcommand_from status cancel rollback bless gc report' -f
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage status report doctor' -l json -d 'For programs'

complete -c nextroot -n '__fish_seen_subcommand_from plan' -l cmdline -x -d 'Kernel command line'
complete -c nextroot -n '__fish_seen_subcommand_from plan' -l facts -r -d 'What the machine has'
complete -c nextroot -n '__fish_seen_subcommand_from plan' -l config -r -d 'Configuration of the initramfs'
complete -c nextroot -n '__fish_seen_subcommand_from plan' -l show-facts -d 'Print what was found'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot' -l roothash -x -d 'Root hash of the image'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot; and not __nextroot_is_no_file' -l hash-device -r -a '(__nextroot_partitions)' -d 'Device with the hash tree'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot; and __nextroot_is_no_file' -l hash-device -x -a '(__nextroot_partitions)' -d 'Device with the hash tree'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot' -l direct -d 'Let systemd switch by itself'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot' -l carry -r -d 'Carry a mount, too'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot' -l no-carry -r -d 'Do not carry a mount'
complete -c nextroot -n '__fish_seen_subcommand_from plan preflight stage reboot' -l critical -x -a '(systemctl list-units --type=service --plain --no-legend 2>/dev/null | string split -f 1 " ")' -d 'Stop this service last and start it first'
complete -c nextroot -n '__fish_seen_subcommand_from stage reboot rollback' -l no-prewarm -d 'Read nothing ahead'
complete -c nextroot -n '__fish_seen_subcommand_from stage reboot' -l prewarm-timeout -x -d 'How long reading ahead may take'
complete -c nextroot -n '__fish_seen_subcommand_from stage reboot' -l replace -d 'Replace what is staged'
complete -c nextroot -n '__fish_seen_subcommand_from stage reboot rollback' -l force -d 'Although a check failed, or a switch to it'
complete -c nextroot -n '__fish_seen_subcommand_from report' -l svg -d 'A picture'
complete -c nextroot -n '__fish_seen_subcommand_from report' -l probe -d 'With what a client saw'
complete -c nextroot -n '__fish_seen_subcommand_from status' -l metrics -d 'For Prometheus'
complete -c nextroot -n '__fish_seen_subcommand_from status' -l is -x -a 'staged trial blessed idle restored' -d 'Answer by the exit code'

set -l verity '__fish_seen_subcommand_from verity'
complete -c nextroot -n "$verity; and not __fish_seen_subcommand_from $trees" -f -a "$trees"
complete -c nextroot -n "$verity; and __fish_seen_subcommand_from format verify dump open" -l hash-offset -x -d 'Bytes before the superblock'
complete -c nextroot -n "$verity; and __fish_seen_subcommand_from format verify dump open" -l fec-device -r -d 'File or device with parity'
complete -c nextroot -n "$verity; and __fish_seen_subcommand_from format verify dump open" -l fec-offset -x -d 'Bytes before the parity'
complete -c nextroot -n "$verity; and __fish_seen_subcommand_from format verify dump open" -l fec-roots -x -d 'Bytes of parity in 255'
set -l tree "$verity; and __fish_seen_subcommand_from format verify open"
complete -c nextroot -n $tree -l hash -x -a 'sha256 sha224 sha384 sha512' -d 'Hash'
complete -c nextroot -n $tree -l format -x -a '0 1' -d 'Format of the tree'
complete -c nextroot -n $tree -l data-block-size -x -d 'Bytes hashed at once'
complete -c nextroot -n $tree -l hash-block-size -x -d 'Bytes of a block of digests'
complete -c nextroot -n $tree -l data-blocks -x -d 'How many data blocks'
complete -c nextroot -n $tree -l salt -x -d 'Salt, in hexadecimal'
complete -c nextroot -n $tree -l no-superblock -d 'There is no superblock'
complete -c nextroot -n $tree -l root-hash-file -r -d 'File with the root hash'
complete -c nextroot -n "$verity; and __fish_seen_subcommand_from format" -l uuid -x -d 'UUID of the tree'
set -l open "$verity; and __fish_seen_subcommand_from open"
complete -c nextroot -n $open -l ignore-corruption -d 'Log blocks that do not match, and let them be read'
complete -c nextroot -n $open -l restart-on-corruption -d 'Restart when a block does not match'
complete -c nextroot -n $open -l panic-on-corruption -d 'Panic when a block does not match'
complete -c nextroot -n $open -l error-as-corruption -d 'The same when a block cannot be read'
complete -c nextroot -n $open -l ignore-zero-blocks -d 'Do not read blocks of zeros'
complete -c nextroot -n $open -l check-at-most-once -d 'Check a block only the first time'
complete -c nextroot -n $open -l root-hash-signature -r -d 'Signature of the root hash'
complete -c nextroot -n $open -l use-tasklets -d 'Check in tasklets'
set -l close "$verity; and __fish_seen_subcommand_from close"
complete -c nextroot -n $close -l deferred -d 'Close it when nobody uses it'
complete -c nextroot -n $close -l cancel-deferred -d 'Take --deferred back'
