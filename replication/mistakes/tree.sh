# For the two scripts `run`: the tree in which mistakes are built. Sourced, not run.
#
# The tree stays where it is between mistakes and between runs, because cargo names what it builds by its place: in a new
# folder every member of the workspace would be built anew for each mistake.

# Nobody else may change the tree meanwhile. The lock ends with the script.
lock_tree() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1"
    flock --nonblock 9 || { echo "another run uses $1; MISTAKES_TARGET chooses another folder" >&2; exit 2; }
}

# Makes the tree $2 what the tree $1 is. A file that is the same already keeps its time, and any other gets a new one: cargo
# builds what has a newer time than its last build, also when a mistake is taken out again.
same_tree() {
    local file
    mkdir -p "$2"
    (cd "$1" && find . -type f) | while read -r file; do
        cmp -s "$1/$file" "$2/$file" && continue
        mkdir -p "$2/$(dirname "$file")"
        cp "$1/$file" "$2/$file"
    done
    (cd "$2" && find . -type f) | while read -r file; do
        [ -e "$1/$file" ] || rm "$2/$file"
    done
}
