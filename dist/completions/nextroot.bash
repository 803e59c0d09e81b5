# bash completion for nextroot(8)

# Sets words to those of the line up to the cursor: bash parts them at "=" and ":", too.
_nextroot_words() {
	local line=${COMP_LINE:0:COMP_POINT} part i
	words=()
	for ((i = 0; i <= COMP_CWORD; i++)); do
		part=${line#"${line%%[![:space:]]*}"}
		((i == COMP_CWORD)) || part=${COMP_WORDS[i]}
		if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
			words+=("$part")
		else
			words[-1]+=$part
		fi
		line=${line#*"$part"}
	done
}

# Adds the values of a tag, as PARTLABEL=, from udev's names, which have \x20 for a space.
_nextroot_tagged() {
	local name
	for name in "/dev/disk/by-${1,,}/"*; do
		[[ -L $name ]] || continue
		printf -v name %b "${name##*/}"
		printf -v name %q "$name"
		offered+=("$1=$name")
	done
}

# Adds those of the forms of a source that begin as typed, and files; files alone are left to bash.
_nextroot_source() {
	local form file
	case $value in
	PARTUUID=* | PARTLABEL=* | UUID=* | LABEL=*)
		_nextroot_tagged "${value%%=*}"
		return
		;;
	esac
	for form in "$@" PARTUUID= PARTLABEL= UUID= LABEL=; do
		[[ $form == "$value"* ]] && offered+=("$form")
	done
	if ((${#offered[@]} == 0)); then
		compopt -o default
		return
	fi
	while IFS= read -r file; do
		[[ -d $file ]] && file+=/
		printf -v file %q "$file"
		offered+=("$file")
	done < <(compgen -f -- "$value")
}

_nextroot() {
	local words word before lead= value command= verity= options= sources= offered=() i
	COMPREPLY=()
	_nextroot_words
	word=${words[-1]} before=${words[-2]}
	if [[ $before == *[\<\>] || $word == *[\<\>]* ]]; then
		compopt -o default
		return
	fi
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		[[ ${words[i]} == -* ]] && continue
		command=${words[i]} verity=${words[i + 1]}
		break
	done
	# An option's value may stand behind "=" as well.
	if [[ $word == --*=* ]]; then
		before=${word%%=*}
		lead=$before=
	fi
	value=${word#"$lead"}

	local tree="--hash --format --data-block-size --hash-block-size --data-blocks --hash-offset --salt"
	local fec="--fec-device --fec-offset --fec-roots"
	local how="--roothash --hash-device --direct --carry --no-carry --critical"
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
		case $verity in
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
		((i + 2 == ${#words[@]})) && options="format verify dump open close status --help"
		;;
	esac

	case $before in
	--facts | --config | --carry | --no-carry | --fec-device | --root-hash-file | --root-hash-signature)
		compopt -o default
		return
		;;
	--hash-device) _nextroot_source ;;
	--critical) read -r -d '' -a offered < <(systemctl list-units --type=service --plain --no-legend 2>/dev/null | cut -d' ' -f1) ;;
	--is) offered=(staged trial blessed idle restored) ;;
	--hash) offered=(sha256 sha224 sha384 sha512) ;;
	--format) offered=(0 1) ;;
	--cmdline | --roothash | --prewarm-timeout | --salt | --uuid | --data-block-size | --hash-block-size | --data-blocks | --hash-offset | --fec-offset | --fec-roots) return ;;
	*)
		if [[ $word != -* && $sources ]]; then
			_nextroot_source slot:other previous roothash:
		elif [[ $word != -* && $command == verity ]] && ((i + 2 < ${#words[@]})); then
			compopt -o default
			return
		else
			read -r -a offered <<<"$options"
		fi
		;;
	esac

	# What stands before the last "=" or ":" bash keeps, where it parts words there.
	local breaks=${COMP_WORDBREAKS//[^=:]/} kept= one
	[[ $breaks ]] && kept=${word%"${word##*["$breaks"]}"}
	for one in "${offered[@]}"; do
		one=$lead$one
		[[ $one == "$word"* ]] && COMPREPLY+=("${one#"$kept"}")
	done
	[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:/] ]] && compopt -o nospace
	return 0
}

complete -F _nextroot nextroot
