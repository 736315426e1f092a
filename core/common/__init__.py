"""What every part uses: errors, paths, plain values, devices, the look of figures."""
