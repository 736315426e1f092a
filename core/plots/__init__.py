"""Results in, Plotly figures out. Neither torch nor Streamlit is imported here."""
