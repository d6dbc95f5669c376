"""One module per format. Each has a `FORMAT`; `governance.exports.catalog` finds it by that."""
