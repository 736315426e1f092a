"""A checkpoint as a web page that runs the network in the browser: page, runtime and model in one folder, nothing else needed."""
