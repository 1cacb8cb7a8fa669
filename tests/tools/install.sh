# Sourced by scripts that run tools: makes sure that these are on this machine, each of the version
# that requirements.txt or package-lock.json pins. Nothing is compiled: wheels go into an environment
# under target/, npm's packages beside package.json, with a Node where the system's is too old.
# shellcheck shell=bash disable=SC2154
source "$repository/tests/packages.sh"

# python_tools: puts them on the PATH.
python_tools() {
    local environment="$repository/target/tools/python"
    local requirements="$repository/tests/tools/requirements.txt"
    if ! environment_current "$environment" "$requirements"; then
        makes_environments || install python3-venv
        install_environment "$environment" "$requirements"
    fi
    PATH="$environment/bin:$PATH"
}

# npm_tools: sets `modules` to the folder they are in, and `node` to what runs them.
npm_tools() {
    local folder="$repository/tests/tools"
    if ! modules_current "$folder"; then
        has npm || install npm
        install_modules "$folder"
    fi
    modules="$folder/node_modules"
    node="$modules/.bin/node"
    new_enough "$node" || node="${TEST_NODE:-node}"
}
