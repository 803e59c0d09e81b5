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
	--facts | --config | --carry | --no-carry)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--is)
		mapfile -t COMPREPLY < <(compgen -W "staged trial blessed idle" -- "$word")
		return
		;;
	--cmdline | --roothash) return ;;
	esac
	local options= sources=
	case $command in
	'') options="plan preflight stage status cancel reboot --help --version" ;;
	plan) options="--cmdline --facts --config --show-facts --help" sources=yes ;;
	preflight) options="--json --help" sources=yes ;;
	stage) options="--roothash --direct --carry --no-carry --replace --force --json --help" sources=yes ;;
	status) options="--json --is --help" ;;
	cancel) options="--json --help" ;;
	reboot) options="--help" sources=yes ;;
	esac
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
