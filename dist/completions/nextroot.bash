# bash completion for nextroot(8)

_nextroot() {
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= i
	COMPREPLY=()
	# Where bash parts words at "=" and ":", an option's value may be one word further on.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-*) ;;
		*) command=${COMP_WORDS[i]} && break ;;
		esac
	done
	case $before in
	--facts | --config | --carry | --no-carry | --hash-device | --root-hash-file | --root-hash-signature)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--critical)
		mapfile -t COMPREPLY < <(compgen -W "$(systemctl list-units --type=service --plain --no-legend 2>/dev/null | cut -d' ' -f1)" -- "$word")
		return
		;;
	--is)
		mapfile -t COMPREPLY < <(compgen -W "staged trial blessed idle restored" -- "$word")
		return
		;;
	--hash)
		mapfile -t COMPREPLY < <(compgen -W "sha256 sha224 sha384 sha512" -- "$word")
		return
		;;
	--cmdline | --roothash | --prewarm-timeout | --salt | --uuid) return ;;
	esac
	local tree="--hash --format --data-block-size --hash-block-size --data-blocks --hash-offset --salt"
	local fec="--fec-device --fec-offset --fec-roots"
	local options= sources= how="--roothash --hash-device --direct --carry --no-carry --critical"
	case $command in
	'') options="plan preflight stage status cancel reboot rollback bless gc report doctor verity --help --version" ;;
	plan) options="$how --cmdline --facts --config --json --show-facts --help" sources=yes ;;
	preflight) options="$how --json --help" sources=yes ;;
	stage) options="$how --no-prewarm --prewarm-timeout --replace --force --json --help" sources=yes ;;
	status) options="--json --metrics --is --help" ;;
	report) options="--json --svg --probe --help" ;;
	doctor) options="--json --help" sources=yes ;;
	cancel | bless | gc) options="--help" ;;
	rollback) options="--force --no-prewarm --help" ;;
	reboot) options="$how --no-prewarm --prewarm-timeout --replace --force --help" sources=yes ;;
	verity)
		case ${COMP_WORDS[i + 1]} in
		format) options="$tree $fec --uuid --no-superblock --root-hash-file --help" ;;
		verify) options="$tree $fec --no-superblock --root-hash-file --help" ;;
		open)
			options="$tree $fec --no-superblock --root-hash-file --ignore-corruption --restart-on-corruption --panic-on-corruption"
			options+=" --error-as-corruption --ignore-zero-blocks --check-at-most-once --use-tasklets --root-hash-signature --help"
			;;
		close) options="--deferred --cancel-deferred --help" ;;
		status) options="--help" ;;
		dump) options="--hash-offset $fec --help" ;;
		esac
		if ((COMP_CWORD == i + 1)); then
			options="format verify dump open close status --help"
		elif [[ $word != -* ]]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
		fi
		;;
	esac
	if [[ $sources && ($before == = || $word == =) ]]; then
		# bash parts words at "=": the tag stands before it.
		[[ $word == = ]] && word= i=1 || i=2
		local tag=${COMP_WORDS[COMP_CWORD - i]}
		case $tag in
		PARTUUID | PARTLABEL | UUID | LABEL)
			mapfile -t COMPREPLY < <(compgen -W "$(ls "/dev/disk/by-${tag,,}" 2>/dev/null)" -- "$word")
			return
			;;
		esac
	fi
	if [[ $sources && $word != -* ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		# Their values begin behind a "=" or ":", at which bash parts words.
		[[ $word == /* || $word == .* ]] && return
		compopt -o nospace
		options="slot:other previous roothash: PARTUUID= PARTLABEL= UUID= LABEL="
	fi
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$options" -- "$word")
}

complete -F _nextroot nextroot
