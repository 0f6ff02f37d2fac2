const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("table.sortable").forEach(sortable);
plotting(document.getElementById("plots"));
answering(document.getElementById("answers"));
